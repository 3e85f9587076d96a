package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/output"
	"capstan/internal/pgdrill"
	"capstan/internal/progress"
)

func (a *app) pgDrillCommand() *cobra.Command {
	var options pgdrill.Options
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "drill DIR", Short: "Prove that a dump can be restored: restore it on a scratch server and compare",
		Long: `Prove that a dump can be restored. Its files are read and compared with its receipt;
it is restored into a server that is made for it and removed afterwards, of the dumped
server's major version; then every table is read again, and its rows and their hash are
compared with those that the source had when it was dumped. Sequences and large objects
are compared too.

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
  capstan pg drill /srv/dumps/app --server postgres://postgres@test1/postgres
  capstan pg drill /srv/dumps/app --json | tail -1 | jq .differences`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < 0 {
				return usage("--timeout is not negative")
			}
			return a.pgDrill(cmd.Context(), args[0], options, timeout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&options.Server, "server", "", "connection URL of a running server: a new database of it is used and dropped again")
	f.StringVar(&options.Scratch, "scratch", "", "directory for the scratch server's data (default that for temporary files)")
	f.StringVar(&options.Bin, "bindir", "", "directory of initdb and postgres (default those of the dump's major version, from where packages put them)")
	f.StringVar(&options.RunAs, "run-as", "", "user that the scratch server runs as if this is root (default postgres)")
	f.StringArrayVar(&options.Settings, "set", nil, "NAME=VALUE, a setting of the scratch server (shared_preload_libraries=…); may be repeated")
	f.IntVarP(&options.Jobs, "jobs", "j", 0, "tables that are worked on at the same time (default the cores of this machine, at most 4)")
	f.StringVar(&options.PgRestore, "pg-restore", "", "the program to use (default one that fits is looked for)")
	f.DurationVar(&timeout, "timeout", 0, "give up after this time; 0: never")
	f.DurationVar(&options.StallWarn, "stall-warn", config.DefaultStallWarn, "warn when nothing has moved for this long; 0: never")
	f.DurationVar(&options.StallFail, "stall-fail", 0, "then end the drill; 0: never (one large index can take hours, and says nothing)")
	return cmd
}

// pgDrill drills a directory: it needs no catalog and creates no home.
func (a *app) pgDrill(ctx context.Context, dir string, options pgdrill.Options, timeout time.Duration) error {
	if _, err := a.configure(); err != nil {
		return err
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	options.Dir = dir
	_, err := a.drill(ctx, progress.New(nil), options, timeout)
	return a.told(err)
}

// drill runs a drill, with its live view, and tells what it came to.
func (a *app) drill(ctx context.Context, tracker *progress.Tracker, options pgdrill.Options, timeout time.Duration) (summary pgdrill.Summary, err error) {
	err = a.shown(ctx, tracker, view, func(ctx context.Context) (err error) {
		if timeout > 0 {
			limited, cancel := context.WithTimeoutCause(ctx, timeout, &capstan.Error{
				Op: "drill", Object: options.Dir, Err: fmt.Errorf("it is not through after %s", timeout), Safe: "the scratch server is removed", Next: "give more time with --timeout",
			})
			defer cancel()
			ctx = limited
		}
		summary, err = pgdrill.Run(ctx, pgdrill.Env{Tracker: tracker, Say: a.printer.Info, Warn: a.printer.Warn}, options)
		return err
	})
	if err == nil || errors.Is(err, capstan.ErrIncomplete) || a.flags.json {
		a.finish(ctx, drillText(summary), summary)
	}
	return summary, err
}

// drillText tells a drill to people.
func drillText(s pgdrill.Summary) string {
	var b strings.Builder
	source := "the source"
	if s.Against == pgdrill.AgainstFiles {
		source = "its files, by number"
	}
	fmt.Fprintf(&b, "%s: %s. Database %s, restored into PostgreSQL %s in %s; as in %s: %s, %s, %s, %s\n", output.Clean(s.Dump), s.Status, output.Clean(s.Database), output.Clean(s.Server),
		seconds(s.Seconds), source, plural(s.Tables, "table"), plural(s.Rows, "row"), plural(s.Sequences, "sequence"), plural(s.Large, "large object"))
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
