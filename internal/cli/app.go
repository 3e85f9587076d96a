package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/output"
	"capstan/internal/progress"
)

// Streams are the standard streams of the process. Stdin is never read.
type Streams struct{ Out, Err io.Writer }

// timeLayout is how times are shown to people, in their zone.
const timeLayout = "2006-01-02 15:04:05"

// Run executes one command line (without the program's name) and gives the
// process's exit code. Cancelling ctx interrupts the command; the cause decides
// the exit code.
func Run(ctx context.Context, args []string, streams Streams) int {
	defer output.KeepRunning()()
	a := &app{streams: streams, stallFail: config.DefaultStallFail}
	root := a.rootCommand() //nolint:contextcheck // cobra hands each command its context
	root.SetArgs(args)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	command, err := root.ExecuteContextC(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.Join(context.Cause(ctx), err)
	}
	if a.printer == nil {
		// The command line itself was wrong, or help was printed.
		if err != nil {
			if printer, openErr := output.NewPrinter(output.Options{Stdout: streams.Out, Stderr: streams.Err}); openErr == nil {
				a.printer = printer
			}
		}
	}
	if a.printer != nil {
		if err != nil {
			for _, line := range messages(err, command.Name()) {
				a.printer.Error("%s", line)
			}
		}
		_ = a.printer.Close() // its errors are for nobody's exit code
	}
	return exitCode(err)
}

// globals are the flags of every command.
type globals struct {
	home, config, catalog            string
	memory, logFile                  string
	json, quiet, verbose, noProgress bool
	job                              string // of commands that look sets up
}

// app is one call of the program.
type app struct {
	streams Streams
	flags   globals
	printer *output.Printer
	out     *output.Results // of the command that runs
	summary func() error    // printed when the command's work is done and its locks are free
	kept    bool            // the summary is in the catalog too: that nobody takes it is no failure

	settings  *config.Settings // nil until configure
	jobMemory capstan.Bytes    // of the configured job that runs; 0: it says nothing
	stallFail time.Duration    // how long the home may take to answer; 0: any time
	// wholeCatalog says that the command reads all of the catalog in single calls: its
	// disk may then take longer by what that takes at readRate.
	wholeCatalog bool
	hooked       bool // hooks may follow the end of the work, and take their time
}

// with opens the home, runs do, and closes everything again; only then the
// summary is printed, so that an unread stdout holds nothing but itself.
func (a *app) with(ctx context.Context, do func(context.Context, *daemon.Daemon) error) error {
	settings, err := a.configure()
	if err != nil {
		return err
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	d, err := a.openHome(ctx, a.homeOptions(settings))
	if err != nil {
		return err
	}
	return a.within(ctx, d, do)
}

// homeOptions are those of the home that the settings name.
func (a *app) homeOptions(settings config.Settings) daemon.Options {
	return daemon.Options{
		Home: settings.Home.Dir, Catalog: settings.Catalog, Memory: settings.Memory(a.jobMemory),
		Say: a.printer.Info, Warn: a.printer.Warn,
	}
}

// within runs do with a home that was opened, and closes it.
func (a *app) within(ctx context.Context, d *daemon.Daemon, do func(context.Context, *daemon.Daemon) error) error {
	err, left := d.Engine.Guard(ctx, a.silence(ctx, d), !a.hooked, func(ctx context.Context) error { return do(ctx, d) })
	if left {
		return err // its results, and the home, may still be in use
	}
	return a.told(errors.Join(err, a.closeHome(ctx, d)))
}

// withAny is with for what can do without a catalog: do gets nil where there is none yet,
// for none is made, and where it cannot be opened, which people are told.
func (a *app) withAny(ctx context.Context, do func(context.Context, *daemon.Daemon) error) error {
	settings, err := a.configure()
	if err != nil {
		return err
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	options := a.homeOptions(settings)
	var d *daemon.Daemon
	there, err := a.hasCatalog(ctx, settings)
	if err == nil && there {
		d, err = a.openHome(ctx, options)
	}
	switch {
	case err == nil && d != nil:
		return a.within(ctx, d, do)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		a.printer.Warn("the catalog cannot be opened, this goes on without it: %v", err)
	}
	return a.told(do(ctx, nil))
}

// hasCatalog reports whether there is a catalog where the settings say.
func (a *app) hasCatalog(ctx context.Context, settings config.Settings) (there bool, err error) {
	path := settings.Catalog
	if path == "" {
		path = settings.Home.Catalog()
	}
	answer := make(chan bool, 1)
	err = a.answered(ctx, path+" has not answered", func(<-chan struct{}) error {
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			answer <- false
			return nil
		}
		answer <- true
		return err
	})
	if err != nil {
		return false, err
	}
	return <-answer, nil
}

// readRate is what the slowest of disks reads of a catalog in a second.
const readRate = capstan.MiB

// silence is how long the catalog may not answer; 0: any time.
func (a *app) silence(ctx context.Context, d *daemon.Daemon) time.Duration {
	if a.stallFail == 0 || !a.wholeCatalog {
		return a.stallFail
	}
	sizes := make(chan int64, 1)
	err := a.answered(ctx, "the home "+d.Home.Dir+" has not answered", func(<-chan struct{}) error {
		info, err := os.Stat(d.Catalog.Path())
		if err == nil {
			sizes <- info.Size()
		}
		return err
	})
	if err != nil {
		return a.stallFail // the first call says what is wrong
	}
	return a.stallFail + time.Duration(<-sizes/int64(readRate))*time.Second
}

// told prints what is still to be printed after a command's work, which ended with err.
func (a *app) told(err error) error {
	if flushErr := a.out.Flush(); flushErr != nil {
		err = errors.Join(err, flushErr)
	}
	if a.summary != nil {
		// What was interrupted still has an outcome to tell.
		switch printErr := a.summary(); {
		case printErr == nil:
		case !a.kept:
			err = errors.Join(err, printErr)
		case err == nil:
			a.printer.Warn("the summary could not be printed (it is kept in the catalog): %v", printErr)
		}
	}
	return err
}

// open makes the printer, once the flags are known.
func (a *app) open(ctx context.Context) error {
	printer, err := output.NewPrinter(output.Options{
		Stdout: a.streams.Out, Stderr: a.streams.Err, JSON: a.flags.json, Quiet: a.flags.quiet,
		Verbose: a.flags.verbose, NoProgress: a.flags.noProgress, LogFile: a.flags.logFile,
	})
	if err != nil {
		return err
	}
	a.printer, a.out = printer, printer.Results(ctx)
	return nil
}

// live runs work with its progress shown, and its events printed with --json.
func (a *app) live(ctx context.Context, d *daemon.Daemon, work func(context.Context) error) error {
	return a.shown(ctx, d.Tracker, view, work)
}

// shown is live for work without a daemon, or with another view of its progress.
func (a *app) shown(ctx context.Context, tracker *progress.Tracker, view func(progress.Snapshot) output.View, work func(context.Context) error) error {
	defer a.printer.Start(func() output.View { return view(tracker.Snapshot()) })()
	events := tracker.Subscribe(256)
	told := make(chan struct{})
	go func() {
		defer close(told)
		for {
			event, err := events.Next(context.WithoutCancel(ctx))
			if err != nil {
				return
			}
			a.printer.Event(event)
			a.printer.Detail("%s", eventText(event))
		}
	}()
	err := work(ctx)
	events.Close()
	<-told
	return err
}

// eventText is an event for people.
func eventText(e progress.Event) string {
	words := []string{e.Stage, string(e.Type), e.Archive, e.Object, fmt.Sprintf("%.3fs", e.Seconds)}
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
}

// view maps the progress of a run to what is painted.
func view(s progress.Snapshot) output.View {
	v := output.View{
		Elapsed: s.Elapsed, Entries: s.Entries, EntriesTotal: s.EntriesTotal, BytesIn: s.BytesIn, BytesTotal: s.BytesTotal,
		BytesOut: s.BytesOut, Rate: s.Rate, Ratio: s.Ratio, Left: s.Left,
	}
	for _, stage := range s.Stages {
		v.Stages = append(v.Stages, output.StageView{
			Name: stage.Name, Active: stage.Active > 0, Waiting: string(stage.Waiting), Detail: stage.Detail,
			For: stage.For, Idle: stage.Idle, Object: stage.Object,
		})
	}
	return v
}

// finish prints the outcome of a command after its work is done. A stdout that
// nobody reads may hold it: the work's context is left out of it.
func (a *app) finish(ctx context.Context, text string, object any) {
	a.summary = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), summaryPatience)
		defer cancel()
		return a.printer.Summary(ctx, text, object)
	}
}

// summaryPatience is how long a pipe may take to accept the summary.
const summaryPatience = 24 * time.Hour

// line prints one line of results; its error says that nobody takes them.
func (a *app) line(text string) error { return a.out.Line(text) }

// object prints one result as a line of JSON.
func (a *app) object(v any) error { return a.out.Object(v) }

// say tells people something that is not a result.
func (a *app) say(format string, args ...any) { a.printer.Info(format, args...) }

// usageArgs makes a wrong number of arguments wrong usage (exit 2).
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &capstan.Error{Class: capstan.ErrUsage, Op: cmd.CommandPath(), Err: err, Next: "see: " + cmd.CommandPath() + " --help"}
		}
		return nil
	}
}
