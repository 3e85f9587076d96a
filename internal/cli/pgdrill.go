package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/dumpall"
	"capstan/internal/output"
	"capstan/internal/pgdrill"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
)

func (a *app) pgDrillCommand() *cobra.Command {
	var options pgdrill.Options
	var timeout time.Duration
	var from setDumpFlags
	cmd := &cobra.Command{
		Use: "drill DIR|SET", Short: "Prove that a dump can be restored: restore it on a scratch server and compare",
		Long: `Prove that a dump can be restored. Its files are read and compared with its receipt;
it is restored into a server that is made for it and removed afterwards, of the dumped
server's major version; then every table is read again, and its rows and their hash are
compared with those that the source had when it was dumped. Sequences and large objects
are compared too. The dump of a set is brought to the stage for it, and the catalog keeps
when it was last proven (capstan sets, capstan show).

The server listens on a socket of its own and on no network, has none of your
configuration, and runs as another user (--run-as) if this is root. It needs the
server's programs (initdb, postgres), room in --scratch for the restored database, and
the extensions that the dump uses. With --server the dump is restored into a new
database of a running server instead, which is dropped afterwards; no other is touched.

A dump of the stock pg_dump has no receipt: its rows are counted, and compared with
those in its files.

Exit codes: 0 proven; 1 nothing was proven (something is missing, or broke); 2 wrong
usage; 3 something differs, or could not be restored, and is named; 130 interrupted.`,
		Example: `  capstan pg drill /srv/dumps/app
  capstan pg drill /srv/dumps/app --scratch /srv/scratch --jobs 4 --timeout 2h
  capstan pg drill latest --job app
  capstan pg drill /srv/dumps/app --server postgres://postgres@test1/postgres
  capstan pg drill /srv/dumps/app --json | tail -1 | jq .differences`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < 0 {
				return usage("--timeout is not negative")
			}
			patience, err := from.deliver.patience()
			if err != nil {
				return err
			}
			options.StallWarn, options.StallFail = patience.Warn, patience.Fail
			if isSet(args[0]) {
				return a.withKeys(cmd.Context(), &from.keys, func(ctx context.Context, d *daemon.Daemon) error {
					return a.pgDrillSet(ctx, d, args[0], options, timeout, &from)
				})
			}
			if options.Dir, err = dumpall.Choose(args[0], from.database); err != nil {
				return err
			}
			return a.pgDrill(cmd.Context(), options, timeout)
		},
	}
	from.add(cmd, true)
	a.jobFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&options.Server, "server", "", "connection URL of a running server: a new database of it is used and dropped again")
	f.StringVar(&options.Scratch, "scratch", "", "directory for the scratch server's data (default that for temporary files)")
	f.StringVar(&options.Bin, "bindir", "", "directory of initdb and postgres (default those of the dump's major version, from where packages put them)")
	f.StringVar(&options.RunAs, "run-as", "", "user that the scratch server runs as if this is root (default postgres)")
	f.StringArrayVar(&options.Settings, "set", nil, "NAME=VALUE, a setting of the scratch server (shared_preload_libraries=…); may be repeated")
	f.IntVarP(&options.Jobs, "jobs", "j", 0, "tables that are worked on at the same time (default the cores of this machine, at most 4)")
	f.StringVar(&options.PgRestore, "pg-restore", "", "the program to use (default one that fits is looked for)")
	// Building one large index can take hours, and the server says nothing meanwhile.
	from.deliver.stallFail = 0
	f.Lookup("stall-fail").DefValue, f.Lookup("stall-fail").Usage = "0s", "then end the drill; 0: never"
	f.DurationVar(&timeout, "timeout", 0, "give up after this time; 0: never")
	return cmd
}

// limited bounds what is done with a dump; safe is what is so after its time is over.
func limited(ctx context.Context, timeout time.Duration, op, dump, safe string) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, &capstan.Error{
		Op: op, Object: dump, Err: fmt.Errorf("it is not through after %s", timeout), Safe: safe, Next: "give more time with --timeout",
	})
}

const drillSafe = "the scratch server is removed"

// pgDrill drills a directory: it needs no catalog and creates no home.
func (a *app) pgDrill(ctx context.Context, options pgdrill.Options, timeout time.Duration) error {
	if _, err := a.configure(); err != nil {
		return err
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	tracker := progress.New(nil)
	return a.told(a.shown(ctx, tracker, view, func(ctx context.Context) error {
		ctx, cancel := limited(ctx, timeout, "drill", options.Dir, drillSafe)
		defer cancel()
		_, err := a.drill(ctx, tracker, options)
		return err
	}))
}

// pgDrillSet brings a set's dump to the stage, drills it there, and records what that
// came to.
func (a *app) pgDrillSet(ctx context.Context, d *daemon.Daemon, name string, options pgdrill.Options, timeout time.Duration, from *setDumpFlags) error {
	set, err := a.set(ctx, d, name)
	if err != nil {
		return err
	}
	ctx, cancel := limited(ctx, timeout, "drill", string(set.ID), drillSafe)
	defer cancel()
	return a.fetched(ctx, d, pipeline.FetchDump{Set: set.ID}, from, func(ctx context.Context, fetched pipeline.Fetched, err error) error {
		record := catalog.Drill{Set: set.ID, Dump: fetched.Path}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if errors.Is(err, capstan.ErrIncomplete) && fetched.Path != "" { // damaged: that is an outcome too
				err = errors.Join(err, d.Catalog.Drilled(ctx, record, err.Error()))
			}
			return err
		}
		options.Dir, options.Name = fetched.Dir, string(set.ID)+" "+fetched.Path
		summary, err := a.drill(ctx, d.Tracker, options)
		switch {
		case err == nil:
			record.Proven, record.Tables, record.Rows = true, summary.Tables, summary.Rows
			return d.Catalog.Drilled(ctx, record, drillFacts(summary))
		case errors.Is(err, capstan.ErrIncomplete):
			return errors.Join(err, d.Catalog.Drilled(ctx, record, err.Error()))
		}
		return err // nothing was found out
	})
}

// drill runs a drill and tells what it came to.
func (a *app) drill(ctx context.Context, tracker *progress.Tracker, options pgdrill.Options) (pgdrill.Summary, error) {
	summary, err := pgdrill.Run(ctx, pgdrill.Env{Tracker: tracker, Say: a.printer.Info, Warn: a.printer.Warn}, options)
	if err == nil || errors.Is(err, capstan.ErrIncomplete) || a.flags.json {
		a.finish(ctx, drillText(summary), summary)
	}
	return summary, err
}

// drillFacts is what was compared and found the same.
func drillFacts(s pgdrill.Summary) string {
	source := "the source"
	if s.Against == pgdrill.AgainstFiles {
		source = "its files, by number"
	}
	return fmt.Sprintf("restored into PostgreSQL %s in %s; as in %s: %s, %s, %s, %s", s.Server, seconds(s.Seconds), source,
		plural(s.Tables, "table"), plural(s.Rows, "row"), plural(s.Sequences, "sequence"), plural(s.Large, "large object"))
}

// drillText tells a drill to people.
func drillText(s pgdrill.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", output.Clean(s.Dump), s.Status)
	if s.Server != "" {
		fmt.Fprintf(&b, "; database %s %s", output.Clean(s.Database), output.Clean(drillFacts(s)))
	}
	b.WriteByte('\n')
	for i, d := range s.Differences {
		if i == shownProblems {
			fmt.Fprintf(&b, "  and %s (see --json)\n", plural(int64(len(s.Differences)-i), "more difference"))
			break
		}
		fmt.Fprintf(&b, "  %s\n", output.Clean(d.String()))
	}
	for i, p := range s.Problems {
		if i == shownProblems {
			fmt.Fprintf(&b, "  and %s (see --json)\n", plural(int64(len(s.Problems)-i), "more problem"))
			break
		}
		fmt.Fprintf(&b, "  not restored: %s: %s\n", output.Clean(p.Object), output.Clean(p.Err))
	}
	if n := len(s.NotCompared); n > 0 {
		fmt.Fprintf(&b, "  not compared: %s\n", output.Clean(strings.Join(s.NotCompared[:min(n, shownProblems)], ", ")))
	}
	return b.String()
}
