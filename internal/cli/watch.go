package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/output"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
)

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch [RUN]", Short: "Show the progress of a run, in whichever process, to its end",
		Long: `Show what a run does: the same view as its own, as of its last heartbeat, which
comes every ` + output.Duration(pipeline.HeartbeatEvery) + `. Without RUN: the newest run that is running. watch ends with the
run, prints its summary, and exits as the run does; ending watch does not end the
run. Of a run that is over, the summary is printed at once.

With --json: a line for each heartbeat, and last the summary.`,
		Example: "  capstan watch\n  capstan watch 12\n  capstan watch 12 --json | jq -c '[.bytes_in, .rate]'",
		Args:    usageArgs(cobra.MaximumNArgs(1)), ValidArgsFunction: a.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			var id capstan.RunID
			if len(args) == 1 {
				var err error
				if id, err = parseRun(args[0]); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error { return a.watch(ctx, d, id) })
		},
	}
}

func (a *app) watch(ctx context.Context, d *daemon.Daemon, id capstan.RunID) error {
	if id == 0 {
		var err error
		if id, err = newestRunning(ctx, d); err != nil {
			return err
		}
	}
	run, err := d.Catalog.Run(ctx, id)
	if err != nil {
		return err
	}
	if run.Status == capstan.RunRunning && !d.Catalog.Gone(run) {
		if run, err = a.follow(ctx, d, run); err != nil {
			return err
		}
	}
	if run.Status == capstan.RunRunning { // its process is gone
		return &capstan.Error{
			Class: capstan.ErrInterrupted, Op: "run", Object: fmt.Sprint(id),
			Err:  fmt.Errorf("%s is gone, it was last heard of at %s", run.Process, run.Beat.Local().Format(timeLayout)),
			Next: goOn(run),
		}
	}
	return a.outcome(ctx, run)
}

func newestRunning(ctx context.Context, d *daemon.Daemon) (capstan.RunID, error) {
	runs, err := d.Catalog.Runs(ctx, catalog.RunFilter{Running: true})
	if err != nil {
		return 0, err
	}
	for i := range runs {
		if !d.Catalog.Gone(runs[i]) {
			return runs[i].ID, nil
		}
	}
	return 0, &capstan.Error{Class: capstan.ErrNotFound, Op: "run", Err: errNoneRuns, Next: "see: capstan runs"}
}

// follow shows a run until it is over or its process is gone, and gives it as it is
// then. Its row is looked at twice in a heartbeat, so that none is missed.
func (a *app) follow(ctx context.Context, d *daemon.Daemon, run catalog.Run) (catalog.Run, error) {
	w := &watched{run: run}
	w.see(run)
	if !a.flags.json {
		defer a.printer.Start(func() output.View { return w.view(time.Now()) })()
	}
	ticker := time.NewTicker(pipeline.HeartbeatEvery / 2)
	defer ticker.Stop()
	var told time.Time
	for {
		if a.flags.json && run.Progress != nil && !run.Beat.Equal(told) {
			told = run.Beat
			a.printer.Event(w.line())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return run, context.Cause(ctx)
		}
		next, err := d.Catalog.Run(ctx, run.ID)
		if err != nil {
			return run, err
		}
		run = next
		w.see(run)
		if run.Status != capstan.RunRunning || d.Catalog.Gone(run) {
			return run, nil
		}
	}
}

// watched is a run as it was last seen.
type watched struct {
	mu       sync.Mutex
	run      catalog.Run
	snapshot progress.Snapshot
}

func (w *watched) see(run catalog.Run) {
	var snapshot progress.Snapshot
	if run.Progress != nil && json.Unmarshal(run.Progress, &snapshot) != nil {
		snapshot = progress.Snapshot{} // of another release: the row still tells that it lives
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run, w.snapshot = run, snapshot
}

// view is what the run's own view would be by now: what had lasted still lasts.
func (w *watched) view(now time.Time) output.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.snapshot
	if s.Time.IsZero() {
		s.Time, s.Left = w.run.Started, -1
	}
	age := max(now.Sub(s.Time), 0)
	s.Elapsed += age
	if s.Left > 0 {
		s.Left = max(s.Left-age, 0)
	}
	v := view(s)
	for i := range v.Stages {
		v.Stages[i].For += age
	}
	v.Title = runTitle(w.run)
	switch silence := now.Sub(w.run.Beat); {
	case w.run.Cancel.Asked():
		v.Title += ", cancelled by " + w.run.Cancel.By
	case silence > silentAfter:
		v.Title += ", last heard of " + output.Duration(silence) + " ago"
	}
	return v
}

func runTitle(run catalog.Run) string {
	title := fmt.Sprintf("run %d: %s", run.ID, run.Kind)
	if run.Set != "" {
		title += " " + string(run.Set)
	}
	return title
}

// watchLine is a snapshot in --json output.
type watchLine struct {
	Type      string            `json:"type"` // always "progress"
	Run       capstan.RunID     `json:"run"`
	Set       capstan.SetID     `json:"set,omitempty"`
	Status    capstan.RunStatus `json:"status"`
	Heartbeat time.Time         `json:"heartbeat"`
	Cancelled string            `json:"cancelled_by,omitempty"`
	progress.Snapshot
}

func (w *watched) line() watchLine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return watchLine{
		Type: "progress", Run: w.run.ID, Set: w.run.Set, Status: w.run.Status, Heartbeat: w.run.Beat, Cancelled: w.run.Cancel.By,
		Snapshot: w.snapshot,
	}
}

// outcome prints the summary of a run that is over, and gives the error with which
// its process ended.
func (a *app) outcome(ctx context.Context, run catalog.Run) error {
	problem := a.printOutcome(ctx, run)
	var class, why error
	switch run.Status {
	case capstan.RunComplete:
		return nil
	case capstan.RunPartial:
		class, why = capstan.ErrIncomplete, errors.New("it is partial")
	case capstan.RunCancelled:
		class, why = capstan.ErrInterrupted, capstan.ErrCancelled
		if run.Cancel.Asked() {
			why = fmt.Errorf("%w by %s at %s", why, run.Cancel.By, run.Cancel.At.Local().Format(timeLayout))
		}
	case capstan.RunInterrupted:
		class, why = capstan.ErrInterrupted, errors.New("it was interrupted")
	case capstan.RunFailed, capstan.RunRunning:
		why = fmt.Errorf("it is %s", run.Status)
	}
	if problem != "" && run.Status != capstan.RunCancelled {
		why = fmt.Errorf("%w: %s", why, problem)
	}
	next := goOn(run)
	if run.Status == capstan.RunPartial {
		next = "see: capstan runs"
		if run.Set != "" {
			next = "see: capstan show " + string(run.Set)
		}
	}
	return &capstan.Error{Class: class, Op: "run", Object: fmt.Sprint(run.ID), Err: why, Next: next}
}

// printOutcome prints the summary as the run's own process did, and gives the error
// that it names.
func (a *app) printOutcome(ctx context.Context, run catalog.Run) (problem string) {
	var s struct {
		Error string `json:"error"`
	}
	if run.Summary == nil || json.Unmarshal(run.Summary, &s) != nil {
		a.finish(ctx, fmt.Sprintf("run %d (%s) is %s, and left no summary\n", run.ID, run.Kind, run.Status), newRunLine(&run))
		return ""
	}
	var backup pipeline.Summary
	var restore pipeline.RestoreSummary
	var verify pipeline.VerifySummary
	var drill drillReport
	summaries := map[string]struct {
		into  any
		print func()
	}{
		"backup":      {&backup, func() { a.backupSummary(ctx, backup) }},
		"resume":      {&backup, func() { a.backupSummary(ctx, backup) }},
		"consolidate": {&backup, func() { a.backupSummary(ctx, backup) }},
		"retry":       {&backup, func() { a.deliverySummary(ctx, backup) }},
		"restore":     {&restore, func() { a.restoreSummary(ctx, restore) }},
		"verify":      {&verify, func() { a.verifySummary(ctx, verify) }},
		"drill":       {&drill, func() { a.finish(ctx, drill.text(), drill) }},
	}
	known, ok := summaries[run.Kind]
	switch {
	case !ok || json.Unmarshal(run.Summary, known.into) != nil: // of another release
		a.finish(ctx, fmt.Sprintf("run %d (%s) is %s\n", run.ID, run.Kind, run.Status), json.RawMessage(run.Summary))
	case run.Set == "" && known.into == any(&backup): // it ended before its backup began
		a.finish(ctx, fmt.Sprintf("run %d is %s: nothing was backed up\n", run.ID, run.Status), json.RawMessage(run.Summary))
	default:
		known.print()
	}
	a.kept = false // the summary is what watch is for
	return s.Error
}
