package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/dumpall"
	"capstan/internal/output"
	"capstan/internal/pgdump"
	"capstan/internal/progress"
	"capstan/internal/source/dumps"
	"capstan/internal/source/postgres"
)

func (a *app) pgDumpCommand() *cobra.Command {
	var database databaseFlags
	var options postgres.Options
	var dir, compress string
	var exclude []string
	cmd := &cobra.Command{
		Use: "dump URL -o DIR", Short: "Dump a database into a directory that the stock pg_restore restores",
		Long: `Dump a database into a directory in pg_dump's own format, for pg_restore -j. URL is
one of libpq (postgres://user@host/database, or service=NAME); passwords come from
PGPASSWORD or .pgpass. The pg_dump of the server's version, or a newer one, must be
installed: it says what there is; the data is read by Capstan.

All tables are locked first (ACCESS SHARE, as pg_dump does), then the snapshot is
taken: what TRUNCATE or a rewrite does beside the dump is in it whole, or not at all.
While one table cannot be locked, none is: after --lock-timeout all are let go, who
is in the way is named, and it begins again, until --lock-wait is over. Each table is
free again as soon as it has been read, those of --first before all others, so that
ALTER, TRUNCATE or VACUUM FULL need not wait for the end of the dump.

On a hot standby, what is replayed may end the dump; --pause-replay pauses the replay
meanwhile. It goes on whatever becomes of the dump, also if it is killed.

With --all-databases each database that takes connections goes into DIR/DATABASE, with a
snapshot of its own, and the roles into DIR/globals.sql (--globals=false: not). One that
fails is named, the others go on, and the receipt DIR/capstan-databases.json says partial.

Each session that reads takes up to 8 MiB; no more read than --memory has room for (one
always does), whatever --jobs says. The pg_dump beside them takes its own.

DIR must not exist yet, and appears when the dump is whole and durable. It holds a
receipt, capstan-receipt.json: for how long each table was locked, and the longest
wait that anybody had. Patterns are pg_dump's.

Exit codes: 0 dumped; 1 failed, nothing is left; 2 wrong usage; 3 of all databases, some
that are named are missing; 4 refused for safety
(DIR exists, a pooler in transaction mode); 11 another dump writes there,
or has paused the replay; 130 interrupted.`,
		Example: `  capstan pg dump postgres://postgres@db1/app -o /srv/dumps/app-2026-11-20
  pg_restore --create --dbname=postgres --jobs=4 /srv/dumps/app-2026-11-20
  capstan pg dump service=app -o /srv/dumps/app --jobs 4 --first orders --exclude-table-data 'log.*'
  capstan pg dump postgres://postgres@db1/postgres --all-databases -o /srv/dumps/db1 --exclude-database 'test_*'
  capstan pg dump service=app -o /srv/dumps/app --memory 16MiB     # two sessions
  capstan pg dump postgres://db1/app -o /srv/dumps/app --json | tail -1 | jq .receipt.inflicted`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			database.into(&options)
			options.URL = args[0]
			if dir == "" {
				return usage("name the directory that the dump is written to with -o DIR")
			}
			if compress != "" {
				codec, err := capstan.ParseCodec(compress)
				if err != nil {
					return usage("--compress: %v", err)
				}
				options.Codec = codec
			}
			switch {
			case !database.All && len(exclude) > 0:
				return usage("--exclude-database chooses among all: give --all-databases too")
			case database.All && len(options.Tables)+len(options.Schemas) > 0:
				return usage("--table and --schema choose in one database, not in --all-databases")
			case database.All:
				all := dumpall.Options{Dump: options, Globals: database.Globals || !cmd.Flags().Changed("globals"), Exclude: exclude}
				return a.pgDumpAll(cmd.Context(), all, dir)
			}
			return a.pgDump(cmd.Context(), options, database.Globals, dir)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&dir, "output", "o", "", "directory that the dump is written to")
	database.addWhole(f)
	f.StringArrayVar(&exclude, "exclude-database", nil, "with --all-databases: not those that match, with * and ?; may be repeated")
	f.StringVar(&compress, "compress", "", "zstd, gzip or none (default zstd; gzip with pg_dump 15 or older, whose pg_restore reads nothing else)")
	f.IntVar(&options.Level, "level", 0, "compression level: zstd 1 to 19, gzip 1 to 9 (default 1)")
	f.DurationVar(&options.StallWarn, "stall-warn", config.DefaultStallWarn, "warn when nothing has been read for this long; 0: never")
	f.DurationVar(&options.StallFail, "stall-fail", config.DefaultStallFail, "then end the dump; 0: never")
	return cmd
}

// dumping needs no catalog and creates no home. It cuts the sessions to the memory that
// there is.
func (a *app) dumping(ctx context.Context, options *postgres.Options, work func(ctx context.Context, env postgres.Env) error) error {
	settings, err := a.configure()
	if err != nil {
		return err
	}
	options.MostJobs = postgres.JobsWithin(settings.Memory(0))
	if err := a.open(ctx); err != nil {
		return err
	}
	tracker := progress.New(nil)
	env := postgres.Env{Tracker: tracker, Say: a.printer.Info, Warn: a.printer.Warn}
	return a.told(a.shown(ctx, tracker, pgView, func(ctx context.Context) error { return work(ctx, env) }))
}

func (a *app) pgDump(ctx context.Context, options postgres.Options, globals bool, dir string) error {
	return a.dumping(ctx, &options, func(ctx context.Context, env postgres.Env) error {
		if globals {
			text, err := dumps.Globals(ctx, options, "", env.Warn)
			if err != nil {
				return err
			}
			options.Beside = map[string][]byte{pgdump.Globals: text}
		}
		summary, err := postgres.Dump(ctx, env, options, dir)
		if err == nil {
			a.finish(ctx, dumpText(summary), summary)
		}
		return err
	})
}

func (a *app) pgDumpAll(ctx context.Context, options dumpall.Options, dir string) error {
	return a.dumping(ctx, &options.Dump, func(ctx context.Context, env postgres.Env) error {
		summary, err := dumpall.Dump(ctx, env, options, dir)
		if err == nil || errors.Is(err, capstan.ErrIncomplete) {
			a.finish(ctx, dumpAllText(summary), summary)
		}
		return err
	})
}

// dumpAllText tells a dump of all databases to people.
func dumpAllText(s dumpall.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s in %s\n", output.Clean(s.Dir), s.Status, plural(int64(len(s.Databases)), "database"), seconds(s.Seconds))
	for _, d := range s.Databases {
		if d.Status != dumpall.Complete {
			fmt.Fprintf(&b, "  %s: %s: %s\n", output.Clean(d.Name), d.Status, output.Clean(d.Error))
			continue
		}
		fmt.Fprintf(&b, "  %s: %s, %s, %s in, %s out\n", output.Clean(d.Name), plural(int64(d.Tables), "table"), plural(d.Rows, "row"), d.BytesIn, d.BytesOut)
	}
	if s.Globals != "" {
		fmt.Fprintf(&b, "  roles and tablespaces: %s\n", s.Globals)
	}
	return b.String()
}

// dumpText tells a dump to people.
func dumpText(s postgres.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s of %s, %s, %s in, %s out, in %s\n", output.Clean(s.Dir), plural(int64(s.Tables), "table"), output.Clean(s.Receipt.Database),
		plural(s.Rows, "row"), s.BytesIn, s.BytesOut, seconds(s.Seconds))
	if n := s.Receipt.Large.Count; n > 0 {
		fmt.Fprintf(&b, "  %s\n", plural(n, "large object"))
	}
	why := ""
	if s.Receipt.JobsWhy != "" {
		why = " (" + s.Receipt.JobsWhy + ")"
	}
	fmt.Fprintf(&b, "  read by %s%s\n", plural(int64(s.Receipt.Jobs), "session"), why)
	fmt.Fprintf(&b, "  locked in %s, in %s; snapshot kept for %s\n", seconds(s.Receipt.LockSeconds), plural(int64(s.Receipt.Attempts), "attempt"), seconds(s.Receipt.SnapshotSeconds))
	if paused := s.Receipt.PausedSeconds; paused > 0 {
		fmt.Fprintf(&b, "  the standby's replay was paused for %s\n", seconds(paused))
	}
	if i := s.Receipt.Inflicted; i.Seconds > 0 {
		fmt.Fprintf(&b, "  longest wait for the dump: %s, for %s, by %s %q: %s\n", seconds(i.Seconds), output.Clean(i.Table), output.Clean(i.User), i.Application, output.Clean(i.Query))
	}
	return b.String()
}
