package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pgserver"
	"capstan/internal/pgslot"
)

// quarantineFlags name the place of quarantines.
type quarantineFlags struct {
	dir    string
	inside bool
}

func (q *quarantineFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.dir, "quarantine", "", "directory for spill files, on the filesystem of the data directory (default DATADIR.capstan-quarantine beside it)")
	cmd.Flags().BoolVar(&q.inside, "inside", false, "allow the quarantine within the data directory (default there: capstan_quarantine), for one that is a filesystem of its own")
}

// where makes the path absolute.
func (q *quarantineFlags) where() (pgslot.Where, error) {
	where := pgslot.Where{Root: q.dir, Inside: q.inside}
	if q.dir == "" {
		return where, nil
	}
	root, err := filepath.Abs(q.dir)
	where.Root = root
	return where, err
}

func (a *app) pgStartCommand(flags *pgFlags) *cobra.Command {
	options := pgserver.StartOptions{}
	var quarantine quarantineFlags
	var settings []string
	cmd := &cobra.Command{
		Use: "start", Short: "Start a server, show what it does until it is up, and put back what a stop has changed",
		Long: `Start a server as the owner of its data directory, and show its phases until it takes
connections: the sync of the data directory after a crash, the removal of spill
files, the replay of WAL with what is left of it. A start that is under way already
is gone on with. Then put back what "capstan pg stop" has changed: roles,
archive_command, subscriptions.

After a crash with very many spill files the server syncs and removes each of them,
which takes minutes to hours. With --unstick each slot with many gets a new
directory with its state alone, in one step, while no server runs; the old one with
the spill files is then in the quarantine, outside the data directory. The consumer
gets everything again from the WAL: spill files are made anew whenever they are
needed. A start that is held up by spill files already is stopped at once, when its
startup process is seen to have them open, and only then. Remove the files later:
capstan pg spill purge.

Killed or interrupted at any moment, call it again. The server does not depend on
this command; its output goes to the file of --log.

Exit codes: 0 up; 1 failed, or not up in time; 2 wrong usage; 3 up, but a setting
could not be put back or a slot is not as it was; 4 refused for safety, nothing
touched; 11 another capstan works on this server; 130 interrupted.`,
		Example: `  capstan pg start -D /var/lib/postgresql/15/main
  capstan pg start -D /var/lib/postgresql/15/main --unstick --dry-run
  capstan pg start -D /data --unstick --quarantine /srv/quarantine --timeout 10m
  capstan pg start -D /data --unstick --inside --set port=5433`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.URL, options.ClusterName = flags.url, flags.clusterName
			for _, setting := range settings {
				if !strings.Contains(setting, "=") {
					return usage("--set %s: give NAME=VALUE", setting)
				}
				options.Options = append(options.Options, "-c", setting)
			}
			var err error
			if options.Where, err = quarantine.where(); err != nil {
				return err
			}
			if options.Log != "" {
				if options.Log, err = filepath.Abs(options.Log); err != nil {
					return err
				}
			}
			return a.pgUrgent(cmd.Context(), flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
				summary, err := pgserver.Start(ctx, env, cluster, options)
				if summary.Type != "" {
					a.finish(ctx, startText(summary), summary)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&options.Unstick, "unstick", false, "move the spill files of slots away first, and stop a start that they hold up")
	f.Int64Var(&options.Least, "least", pgserver.DefaultLeast, "with --unstick: leave slots with fewer spill files as they are")
	f.DurationVar(&options.Prove, "prove", pgserver.DefaultProve, "with --unstick: how long to look for the proof that spill files hold a start up")
	quarantine.add(cmd)
	f.BoolVar(&options.SyncFS, "syncfs", false, "for this start: sync the filesystem in one step instead of each file (14 and later)")
	f.StringArrayVar(&settings, "set", nil, "a setting for this start, NAME=VALUE; may be repeated")
	f.StringVar(&options.Bin, "bindir", "", "directory of the server's programs (default that of its last start)")
	f.StringVar(&options.Log, "log", "", "file for the server's output (default DATADIR.capstan-start.log)")
	f.StringArrayVar(&options.Consumers, "consumer", nil, "URL of a subscriber, with its password, for what a stop has changed there; may be repeated")
	f.DurationVar(&options.Timeout, "timeout", 0, "give up waiting after this long; the server goes on starting (default never)")
	f.BoolVar(&options.DryRun, "dry-run", false, "only say what would be done")
	return cmd
}

// startText tells a start to people.
func startText(s pgserver.StartSummary) string {
	var b strings.Builder
	switch {
	case s.DryRun:
		fmt.Fprintf(&b, "server of %s would be started:\n", s.Data)
	default:
		fmt.Fprintf(&b, "server of %s: %s, after %s\n", s.Data, s.Status, seconds(s.Seconds))
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
		fmt.Fprintf(&b, "  still changed: %s\n", output.Clean(change.String()))
	}
	return b.String()
}
