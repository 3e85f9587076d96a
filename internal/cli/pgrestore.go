package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/daemon"
	"capstan/internal/disk"
	"capstan/internal/dumpall"
	"capstan/internal/output"
	"capstan/internal/progress"
	"capstan/internal/target/postgres"
)

func (a *app) pgRestoreCommand() *cobra.Command {
	var options postgres.Options
	var from setDumpFlags
	var timeout time.Duration
	roles := globalsFlags{}
	all := false
	cmd := &cobra.Command{
		Use: "restore DIR|SET --to URL", Short: "Restore a dump into a database, through the pg_restore that fits",
		Long: `Restore a dump in pg_dump's directory format (capstan pg dump, pg_dump -Fd), or that of
a set (capstan backup postgres://…), into a database: the one that the URL names. Of a
set, what is wanted is first brought to the stage and proven; what is damaged is named
by table, and nothing is changed then (exit 3). The pg_restore is found by version, that of the
server's own major first; one that cannot read the dump is not used.

With --create the database is made, as the dumped one was, under the name that the URL
has; one that is there is left alone (exit 4). Without, it must be there, and tables
that are in the way are refused (exit 4) or replaced with --clean.

--table and --schema choose: a table comes with its rows, indexes, constraints,
triggers, rights and sequences, a foreign key only with both of its tables. Objects
that could not be restored are named, all others are there, and it exits 3.

Of a directory of several dumps (pg dump --all-databases, a whole server's in a set),
--database names one, and --all-databases restores each into the database of its own name,
after the roles if they are there (--globals=false: not). With --create they are made, but
for postgres, which every server has; --to names any database of the server.

With --globals, roles, their memberships and tablespaces are restored first, out of the
globals.sql beside the dump (backup --globals, --all-databases), statement by statement.
What is there is left as it is; a role that differs from the dump's is named (exit 3), but
for the one that the server was made with and the one that restores. Passwords go over as
they are in the dump.

What stands still is named, with the table and whoever is in the way. Somebody's lock,
or a server that does not answer, ends the restore after --stall-fail; a statement that
the server works on does not, since to build an index can take hours: --timeout does.

Exit codes: 0 restored; 1 failed; 2 wrong usage; 3 objects that are named were not
restored, or the set is damaged; 4 refused for safety (what is there is in the way);
10 no such set or database; 12 wrong key; 130 interrupted.`,
		Example: `  capstan pg restore /backup/app --to postgres://postgres@db/app_copy --create
  capstan pg restore /backup/app --to postgres://postgres@db/app --clean --jobs 4
  capstan pg restore /backup/app --to postgres://postgres@db/empty --table public.orders
  capstan pg restore latest --job app --to postgres://postgres@db/app_copy --create
  capstan pg restore /backup/app --to postgres://postgres@db/app --clean --stall-warn 10s --timeout 2h
  capstan pg restore latest --job app --to postgres://postgres@new/app --create --globals
  capstan pg restore /srv/dumps/db1 --to postgres://postgres@new/postgres --all-databases --create`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			options.Dir = args[0]
			if options.URL == "" {
				return usage("name the database with --to URL")
			}
			if timeout < 0 {
				return usage("--timeout is not negative")
			}
			patience, err := from.deliver.patience()
			if err != nil {
				return err
			}
			options.StallWarn, options.StallFail = patience.Warn, patience.Fail
			switch {
			case all && (from.database != "" || roles.only || len(options.Tables)+len(options.Schemas) > 0):
				return usage("--all-databases restores all: give neither --database, --globals-only, --table nor --schema with it")
			}
			roles.found = all && !cmd.Flags().Changed("globals")
			ctx, cancel := limited(cmd.Context(), timeout, "restore", args[0], "the dump was not changed, and what was restored before is there")
			defer cancel()
			if isSet(args[0]) {
				return a.withKeys(ctx, &from.keys, func(ctx context.Context, d *daemon.Daemon) error {
					if all {
						return a.pgRestoreAllSet(ctx, d, args[0], options, roles, &from)
					}
					return a.pgRestoreSet(ctx, d, args[0], options, roles, &from)
				})
			}
			if err := a.open(ctx); err != nil {
				return err
			}
			if all {
				return a.told(a.pgRestoreAll(ctx, options, roles))
			}
			return a.told(a.pgRestore(ctx, options, from.database, roles))
		},
	}
	from.add(cmd, true)
	a.jobFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&options.URL, "to", "", "connection URL of the database to restore into")
	f.BoolVar(&options.Create, "create", false, "make the database, with the settings of the dumped one")
	f.BoolVar(&options.Clean, "clean", false, "drop what is restored before it is made anew")
	f.StringArrayVarP(&options.Tables, "table", "t", nil, "only this table (schema.table or table); may be repeated")
	f.StringArrayVarP(&options.Schemas, "schema", "n", nil, "only what is in this schema; may be repeated")
	f.BoolVar(&options.NoOwner, "no-owner", false, "everything belongs to the role of the URL")
	f.BoolVar(&options.NoPrivileges, "no-privileges", false, "grant nobody anything")
	f.IntVarP(&options.Jobs, "jobs", "j", 0, "tables that are restored at the same time (default the cores of this machine, at most 4)")
	f.BoolVar(&options.NoTablespaces, "no-tablespaces", false, "put everything into the default tablespace, and make none")
	roles.add(f)
	f.BoolVar(&all, "all-databases", false, "all databases that the directory, or the set, holds dumps of")
	f.Lookup("stall-fail").Usage = "then end it, if a volume, a lock or a server that does not answer is in the way; 0: never"
	f.DurationVar(&timeout, "timeout", 0, "give up after this time; 0: never")
	f.StringVar(&options.PgRestore, "pg-restore", "", "the program to use (default one that fits is looked for)")
	return cmd
}

func (a *app) pgRestore(ctx context.Context, options postgres.Options, database string, roles globalsFlags) error {
	tracker := progress.New(nil)
	return a.shown(ctx, tracker, view, func(ctx context.Context) (err error) {
		if !roles.only {
			if options.Dir, err = dumpall.Choose(options.Dir, database); err != nil {
				return err
			}
		}
		var content []byte
		name := ""
		if roles.wanted() {
			if content, name, err = globalsBeside(options.Dir); err != nil {
				return err
			}
		}
		return a.pgRestoreDir(ctx, tracker, options, roles, content, name)
	})
}

// pgRestoreDir restores a dump that lies in a directory, and before it the roles and
// tablespaces of a globals.sql, if that was asked for.
func (a *app) pgRestoreDir(ctx context.Context, tracker *progress.Tracker, options postgres.Options, roles globalsFlags, content []byte, name string) error {
	env := postgres.Env{Disk: disk.FS{}, Tracker: tracker, Say: a.printer.Info, Warn: a.printer.Warn}
	result := restored{Type: "summary"}
	var differ error
	if roles.wanted() {
		globals, err := postgres.Globals(ctx, env, roles.options(options, content, name))
		result.Globals = &globals
		if err != nil && !errors.Is(err, capstan.ErrIncomplete) || roles.only {
			a.finish(ctx, globalsText(globals), struct {
				Type    string                   `json:"type"`
				Globals *postgres.GlobalsSummary `json:"globals"`
			}{"summary", &globals})
			return err
		}
		differ = err
	}
	summary, err := postgres.Restore(ctx, env, options)
	if summary.Objects == 0 && err != nil && result.Globals == nil {
		return err // it did not begin
	}
	result.Summary = summary
	text := ""
	if result.Globals != nil {
		text = globalsText(*result.Globals)
	}
	if summary.Objects > 0 || err == nil {
		text += pgRestoreText(summary)
	}
	a.finish(ctx, text, result)
	return errors.Join(differ, err)
}

// restored is what became of a restore, as --json tells it.
type restored struct {
	Type string `json:"type"`
	postgres.Summary
	Globals *postgres.GlobalsSummary `json:"globals,omitempty"`
}

// shownProblems is how many problems people are told of; all are in --json.
const shownProblems = 20

func pgRestoreText(s postgres.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "database %s (server %s, pg_restore %s): %s of %s, %s in %s\n", output.Clean(s.Database), output.Clean(s.Server), s.PgRestore,
		plural(s.Tables, "table"), plural(s.Objects, "object"), capstan.Bytes(s.Bytes), seconds(s.Seconds))
	for i, p := range s.Problems {
		if i == shownProblems {
			fmt.Fprintf(&b, "  and %s (see --json)\n", plural(int64(len(s.Problems)-i), "more problem"))
			break
		}
		fmt.Fprintf(&b, "  %s: %s\n", output.Clean(p.Object), output.Clean(p.Err))
	}
	return b.String()
}
