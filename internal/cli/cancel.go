package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/output"
	"capstan/internal/pgscratch"
	"capstan/internal/pipeline"
)

// cancelLine is what came of a request, in --json output.
type cancelLine struct {
	Run    capstan.RunID     `json:"run"`
	Status capstan.RunStatus `json:"status"` // running: it was asked to stop, and has not yet
	By     string            `json:"cancelled_by,omitempty"`
	At     time.Time         `json:"cancelled_at,omitzero"`
	Gone   bool              `json:"process_gone,omitempty"`
}

func (a *app) cancelCommand() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "cancel RUN", Short: "Ask a run, in whichever process, to stop",
		Long: `Ask a run to stop. It notices within about ` + output.Duration(pipeline.HeartbeatEvery) + `, stops like one that was
interrupted by a signal, and exits 130; its status is cancelled. What is sealed is
kept: the next run of its job resumes the set.

A run whose process is gone is marked as interrupted, and what the server of a drill has
left is ended and removed. With --wait, cancel returns when the run is over.`,
		Example: "  capstan runs\n  capstan cancel 12\n  capstan cancel 12 --wait",
		Args:    usageArgs(cobra.ExactArgs(1)), ValidArgsFunction: a.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseRun(args[0])
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error { return a.cancel(ctx, d, id, wait) })
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the run is over")
	return cmd
}

func (a *app) cancel(ctx context.Context, d *daemon.Daemon, id capstan.RunID, wait bool) error {
	run, err := d.Catalog.Run(ctx, id)
	if err != nil {
		return err
	}
	if run.Status != capstan.RunRunning {
		return overAlready(run)
	}
	if d.Catalog.Gone(run) {
		return a.bury(ctx, d, run)
	}
	if err := d.Catalog.RequestCancel(ctx, id, whoAsks()); err != nil {
		return err
	}
	if run, err = d.Catalog.Run(ctx, id); err != nil {
		return err
	}
	if run.Status != capstan.RunRunning { // in this very moment
		return overAlready(run)
	}
	a.say("run %d (%s) is asked to stop, by %s", id, run.Process, run.Cancel.By)
	if age := time.Since(run.Beat); age > silentAfter {
		a.say("it was last heard of %s ago: it may hang, and ends when what it waits for lets it go", output.Duration(age))
	}
	if !wait {
		return a.cancelResult(run)
	}
	return a.awaitEnd(ctx, d, id)
}

// silentAfter is when a run that lives should have been heard of.
const silentAfter = 5 * pipeline.HeartbeatEvery

// awaitEnd waits until a run is over, looking at its row when it beats.
func (a *app) awaitEnd(ctx context.Context, d *daemon.Daemon, id capstan.RunID) error {
	ticker := time.NewTicker(pipeline.HeartbeatEvery / 2)
	defer ticker.Stop()
	for {
		run, err := d.Catalog.Run(ctx, id)
		switch {
		case err != nil:
			return err
		case run.Status != capstan.RunRunning:
			a.say("run %d is %s", id, run.Status)
			return a.cancelResult(run)
		case d.Catalog.Gone(run):
			return a.bury(ctx, d, run)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// bury marks a run whose process is gone.
func (a *app) bury(ctx context.Context, d *daemon.Daemon, run catalog.Run) error {
	marked, err := d.Catalog.InterruptRun(ctx, run.ID)
	if err != nil {
		return err
	}
	if run, err = d.Catalog.Run(ctx, run.ID); err != nil {
		return err
	}
	if !marked { // somebody else did, or it ended as it was looked at
		return overAlready(run)
	}
	a.say("the process of run %d (%s) is gone, it was last heard of at %s: the run is marked as interrupted; %s", run.ID, run.Process,
		run.Beat.Local().Format(timeLayout), goOn(run))
	if run.Kind == pipeline.KindDrill {
		if err := a.clearDrills(ctx, d, run.Set); err != nil {
			return err
		}
	}
	if !a.flags.json {
		return nil
	}
	line := newCancelLine(run)
	line.Gone = true
	return a.object(line)
}

// clearDrills removes what drills have left whose processes are gone: servers, and what
// was brought to a stage, which whoever opens it clears.
func (a *app) clearDrills(ctx context.Context, d *daemon.Daemon, set capstan.SetID) error {
	waits := d.Tracker.Stage("server")
	waits.Begin()
	defer waits.End()
	pgscratch.SweepNoted(ctx, pgscratch.Env{Stage: waits, Say: a.printer.Info, Warn: a.printer.Warn}, d.Home.Scratch())
	if set == "" { // then nothing was brought anywhere
		return nil
	}
	_, _, err := d.StageOf(ctx, set)
	return err
}

func (a *app) cancelResult(run catalog.Run) error {
	if !a.flags.json {
		return nil
	}
	return a.object(newCancelLine(run))
}

func newCancelLine(run catalog.Run) cancelLine {
	return cancelLine{Run: run.ID, Status: run.Status, By: run.Cancel.By, At: run.Cancel.At}
}

func overAlready(run catalog.Run) error {
	return &capstan.Error{
		Op: "cancel run", Object: fmt.Sprint(run.ID),
		Err:  fmt.Errorf("it is over: %s since %s", run.Status, run.Finished.Local().Format(timeLayout)),
		Safe: "nothing was changed", Next: "see: capstan runs",
	}
}

// goOn says how the work of a run that did not come to its end is gone on with.
func goOn(run catalog.Run) string {
	switch run.Kind {
	case "backup", "resume":
		return "the next run of its job resumes"
	case "consolidate":
		return "the same call resumes"
	case "retry":
		return fmt.Sprintf("for the rest: capstan retry %d", run.ID)
	}
	return "run it again"
}

// whoAsks names the person at this process, for people.
func whoAsks() string {
	who := "user " + strconv.Itoa(os.Getuid())
	if me, err := user.Current(); err == nil && me.Username != "" {
		who = me.Username
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return who
	}
	return who + " on " + host
}

// completeRuns offers the runs that run to the shell.
func (a *app) completeRuns(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		_ = a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
			runs, err := d.Catalog.Runs(ctx, catalog.RunFilter{Running: true})
			for _, run := range runs {
				names = append(names, fmt.Sprint(run.ID))
			}
			return err
		})
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

var errNoneRuns = errors.New("none is running")
