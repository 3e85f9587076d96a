package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/output"
	"capstan/internal/progress"
)

// runLine is one run in --json output.
type runLine struct {
	Run      capstan.RunID     `json:"run"`
	Kind     string            `json:"kind"`
	Set      capstan.SetID     `json:"set,omitempty"`
	Job      capstan.JobKey    `json:"job,omitempty"`
	Status   capstan.RunStatus `json:"status"`
	Started  time.Time         `json:"started"`
	Finished time.Time         `json:"finished,omitzero"`
	PID      int               `json:"pid,omitempty"`      // while it says that it runs
	Beat     time.Time         `json:"heartbeat,omitzero"` // the same
	Gone     bool              `json:"process_gone,omitempty"`
	Cancel   string            `json:"cancelled_by,omitempty"`
	Waiting  []runWait         `json:"waiting,omitempty"` // as of the last heartbeat
	Counts   capstan.Counts    `json:"counts"`
}

// runWait is what a stage of a run waits for.
type runWait struct {
	Stage  string            `json:"stage"`
	For    progress.Resource `json:"for"`
	Detail string            `json:"detail,omitempty"`
	Since  time.Time         `json:"since"`
}

// waitsOf are the waits that a run's last heartbeat tells of.
func waitsOf(r *catalog.Run) (waits []runWait) {
	var s progress.Snapshot
	if r.Progress == nil || json.Unmarshal(r.Progress, &s) != nil {
		return nil // of another release, or before the first
	}
	for _, stage := range s.Stages {
		if stage.Active > 0 && stage.Waiting != "" {
			waits = append(waits, runWait{stage.Name, stage.Waiting, stage.Detail, stage.Since})
		}
	}
	return waits
}

func (a *app) runsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "runs", Short: "List the runs in the catalog, oldest first",
		Long: `List the runs that the catalog has, and how each ended. A run that says it is
running is shown with its process, what it waits for and since when, and the time since
its last sign of life; if its process is gone, it was killed, and the next backup of its
job resumes it.`,
		Example: "  capstan runs --limit 10\n  capstan runs --job files --json | jq -r 'select(.status == \"failed\") | .run'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage("--limit %d: give a number from 0, which means all", limit)
			}
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error { return a.runs(ctx, d, limit) })
		},
	}
	cmd.Flags().StringVar(&a.flags.job, "job", "", "only runs of this job")
	cmd.Flags().IntVar(&limit, "limit", 0, "only the newest so many; 0: all")
	return cmd
}

func (a *app) runs(ctx context.Context, d *daemon.Daemon, limit int) error {
	if err := a.knownJob(ctx, d); err != nil {
		return err
	}
	runs, err := d.Catalog.Runs(ctx, catalog.RunFilter{Job: capstan.JobKey(a.flags.job), Limit: limit})
	if err != nil {
		return err
	}
	slices.Reverse(runs) // the newest stands where a terminal is looked at
	now := time.Now()
	rows := make([][]string, 0, len(runs))
	for i := range runs {
		line := newRunLine(&runs[i])
		line.Gone = d.Catalog.Gone(runs[i])
		if !a.flags.json {
			rows = append(rows, line.row(now))
		} else if err := a.object(line); err != nil {
			return err
		}
	}
	if len(runs) == 0 {
		a.say("no runs yet")
	}
	return a.table([]string{"RUN", "KIND", "SET", "STATUS", "STARTED", "LASTED", "JOB"}, rows)
}

func newRunLine(r *catalog.Run) runLine {
	line := runLine{
		Run: r.ID, Kind: r.Kind, Set: r.Set, Job: r.Job, Status: r.Status, Started: r.Started, Finished: r.Finished, Counts: r.Counts,
		Cancel: r.Cancel.By,
	}
	if r.Status == capstan.RunRunning {
		line.PID, line.Beat, line.Waiting = r.Process.PID, r.Beat, waitsOf(r)
	}
	return line
}

// row is the line for people.
func (l *runLine) row(now time.Time) []string {
	status, lasted := string(l.Status), "-"
	if l.Status == capstan.RunRunning {
		process := fmt.Sprintf("process %d", l.PID)
		switch {
		case l.Gone:
			process += " is gone"
		case l.Cancel != "":
			process += ", cancelled by " + l.Cancel
		}
		if len(l.Waiting) > 0 && !l.Gone {
			wait := l.Waiting[0]
			process += fmt.Sprintf(", waiting for %s since %s", strings.TrimSpace(string(wait.For)+" "+output.Clean(wait.Detail)), wait.Since.Local().Format(time.TimeOnly))
		}
		status += fmt.Sprintf(" (%s, last heard of %s ago)", process, output.Duration(max(now.Sub(l.Beat), 0)))
	} else if !l.Finished.IsZero() {
		lasted = output.Duration(max(l.Finished.Sub(l.Started), 0))
	}
	set, job := string(l.Set), string(l.Job)
	if set == "" {
		set = "-"
	}
	if job == "" {
		job = "-"
	}
	return []string{strconv.FormatInt(int64(l.Run), 10), l.Kind, set, status, l.Started.Local().Format(timeLayout), lasted, job}
}

// knownJob fails if --job names one that neither the configuration nor the
// catalog has.
func (a *app) knownJob(ctx context.Context, d *daemon.Daemon) error {
	if a.flags.job == "" {
		return nil
	}
	if a.settings != nil && slices.ContainsFunc(a.settings.File.Jobs, func(job config.Job) bool { return job.Name == a.flags.job }) {
		return nil
	}
	known, err := d.Catalog.Jobs(ctx)
	if err != nil || slices.ContainsFunc(known, func(job catalog.Job) bool { return string(job.Key) == a.flags.job }) {
		return err
	}
	// A run that failed before its backup began leaves no more than itself.
	runs, err := d.Catalog.Runs(ctx, catalog.RunFilter{Job: capstan.JobKey(a.flags.job), Limit: 1})
	if err != nil || len(runs) > 0 {
		return err
	}
	return &capstan.Error{
		Class: capstan.ErrNotFound, Op: "job", Object: a.flags.job,
		Err: errors.New("neither the configuration nor the catalog has it"), Next: "see: capstan jobs --all",
	}
}
