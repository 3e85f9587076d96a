package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pgserver"
)

func (a *app) pgStopCommand(flags *pgFlags) *cobra.Command {
	options := pgserver.StopOptions{}
	var undo bool
	cmd := &cobra.Command{
		Use: "stop", Short: "Stop a server, whatever holds it up, and only in ways that are safe",
		Long: `Stop a server: disable its consumers (--consumer), keep a role from logging in
(--lock-role), checkpoint, fast stop; then look at what holds it up until it has
stopped. A server that is stopping already is taken over, also from a smart stop.

A walsender that blocks is waited for, or ended by SIGTERM, again after three
seconds (--walsender=terminate), then by shutting its socket down (cut). Its slot
keeps its place. A physical standby that is ended may lack the last records.

An archiver that works off its backlog is waited for, or ends after its present
file (--archiver=finish-current), or its command is ended (abort-command), or
archive_command is empty until the stop is over (pause). What is not archived stays
ready for the next start.

It never sends SIGKILL or SIGQUIT. The server has stopped when its process is gone,
pg_control says so, and no archive command works on. What was changed is written
down before and put back by "capstan pg start" or by --undo. When the time is over
or the command is interrupted, the server goes on stopping; the next call takes over.

Exit codes: 0 stopped; 1 not stopped in time, or not cleanly; 2 wrong usage; 3 a
setting could not be put back; 4 refused for safety, nothing touched; 11 another
capstan works on this server; 130 interrupted.`,
		Example: `  capstan pg stop -D /var/lib/postgresql/15/main --dry-run
  capstan pg stop -D /var/lib/postgresql/15/main --walsender=terminate --archiver=finish-current --timeout 10m
  capstan pg stop -D /data --consumer postgres://postgres@replica/app --lock-role sync
  capstan pg stop -D /data --undo`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.URL, options.ClusterName = flags.url, flags.clusterName
			return a.pgUrgent(cmd.Context(), flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
				if undo {
					return a.pgUndo(ctx, env, cluster, pgserver.UndoOptions{URL: flags.url, Consumers: options.Consumers})
				}
				summary, err := pgserver.Stop(ctx, env, cluster, options)
				if summary.Type != "" {
					a.finish(ctx, stopText(summary), summary)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&options.Consumers, "consumer", nil, "URL of a subscriber's database: disable its subscriptions to this server until the next start; may be repeated")
	f.StringVar(&options.LockRole, "lock-role", "", "set this role NOLOGIN until the next start")
	f.BoolVar(&options.NoCheckpoint, "no-checkpoint", false, "no CHECKPOINT before the stop")
	f.StringVar((*string)(&options.Walsender), "walsender", string(pgserver.WalsenderWait), "a walsender that blocks: wait, terminate or cut")
	f.StringVar((*string)(&options.Archiver), "archiver", string(pgserver.ArchiverWait), "an archive backlog: wait, finish-current, abort-command or pause")
	f.DurationVar(&options.Timeout, "timeout", 0, "give up waiting after this long; the server goes on stopping (default never)")
	f.BoolVar(&options.DryRun, "dry-run", false, "only say what would be done")
	f.BoolVar(&undo, "undo", false, "do not stop; put back what an earlier stop has changed")
	return cmd
}

// pgUndo puts back what an earlier stop has changed.
func (a *app) pgUndo(ctx context.Context, env pgserver.Env, cluster *pg.Cluster, options pgserver.UndoOptions) error {
	before, err := pgserver.Pending(ctx, env, cluster)
	if err != nil {
		return err
	}
	left, err := pgserver.Undo(ctx, env, cluster, options)
	text := fmt.Sprintf("%s put back, %d left\n", plural(int64(len(before)-len(left)), "setting"), len(left))
	a.finish(ctx, text, map[string]any{"type": "summary", "data": cluster.Dir, "restored": len(before) - len(left), "pending": append([]pgserver.Change{}, left...)})
	return errors.Join(err, undone(cluster, left))
}

// stopText tells a stop to people.
func stopText(s pgserver.StopSummary) string {
	var b strings.Builder
	switch {
	case s.DryRun:
		fmt.Fprintf(&b, "server of %s would be stopped:\n", s.Data)
	case s.Status == pgserver.Stopped:
		fmt.Fprintf(&b, "server of %s is stopped (%s), in %s\n", s.Data, s.State, seconds(s.Seconds))
	default:
		fmt.Fprintf(&b, "server of %s: %s (%s), after %s\n", s.Data, s.Status, s.State, seconds(s.Seconds))
	}
	for _, action := range s.Actions {
		fmt.Fprintf(&b, "  %s\n", output.Clean(action))
	}
	for _, phase := range s.Phases {
		if phase.Seconds >= 0.1 {
			fmt.Fprintf(&b, "  %s: %s\n", seconds(phase.Seconds), phase.Phase)
		}
	}
	for _, change := range s.Pending {
		fmt.Fprintf(&b, "  until the next start: %s\n", output.Clean(change.String()))
	}
	return b.String()
}

func (a *app) pgStopStatusCommand(flags *pgFlags) *cobra.Command {
	return &cobra.Command{
		Use: "stop-status", Short: "Say in which phase a server is, who blocks it, and what is safe now",
		Long: `Look at a server from outside, also at one that takes no connections any more: the
phase of its stop or start, whom it waits for since when, and the command that goes
on from there. Nothing is changed. No line of a log is believed: it looks at
postmaster.pid, pg_control and the processes.`,
		Example: "  capstan pg stop-status -D /var/lib/postgresql/15/main\n  capstan pg stop-status -D /data --json | jq -r .phase",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.pgRead(cmd.Context(), flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
				report, err := pgserver.Status(ctx, env, cluster, flags.clusterName)
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.object(report)
				}
				return a.statusText(report)
			})
		},
	}
}

func (a *app) statusText(r pgserver.StatusReport) error {
	var rows [][2]string
	add := func(name, format string, args ...any) {
		rows = append(rows, [2]string{name, fmt.Sprintf(format, args...)})
	}
	add("phase", "%s", r.Phase)
	add("why", "%s", r.Why)
	if !r.Since.IsZero() {
		add("since", "%s", r.Since.Local().Format(timeLayout))
	}
	for _, blocker := range r.Blockers {
		add("blocker", "%d %s", blocker.PID, blocker.Title)
	}
	add("cluster", "PostgreSQL %d, %s, redo at %s", r.Major, r.State, r.Redo)
	switch {
	case r.Phase == pgserver.PhaseForeign:
		add("pid file", "not of this server, it said %s", r.Status)
	case r.Status != "" && r.PID == 0:
		add("pid file", "its process is gone, it said %s", r.Status)
	case r.Status != "":
		add("pid file", "process %d, %s", r.PID, r.Status)
	}
	for _, change := range r.Pending {
		add("changed", "%s, since %s", change, change.Time.Local().Format(timeLayout))
	}
	if r.Safe != "" {
		add("safe", "%s", r.Safe)
	}
	if r.Next != "" {
		add("next", "%s", r.Next)
	}
	return a.pairs(rows)
}

// pairs prints names and values.
func (a *app) pairs(rows [][2]string) error {
	for _, row := range rows {
		if err := a.line(output.Clean(fmt.Sprintf("%-9s %s", row[0], row[1]))); err != nil {
			return err
		}
	}
	return nil
}
