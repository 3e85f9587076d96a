package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/output"
	"capstan/internal/progress"
	"capstan/internal/source/postgres"
)

func (a *app) pgDumpCommand() *cobra.Command {
	var database databaseFlags
	var options postgres.Options
	var dir, compress string
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

DIR must not exist yet, and appears when the dump is whole and durable. It holds a
receipt, capstan-receipt.json: for how long each table was locked, and the longest
wait that anybody had. Patterns are pg_dump's.

Exit codes: 0 dumped; 1 failed, nothing is left; 2 wrong usage; 4 refused for safety
(DIR exists, a pooler in transaction mode); 11 another dump writes there,
or has paused the replay; 130 interrupted.`,
		Example: `  capstan pg dump postgres://postgres@db1/app -o /srv/dumps/app-2026-11-20
  pg_restore --create --dbname=postgres --jobs=4 /srv/dumps/app-2026-11-20
  capstan pg dump service=app -o /srv/dumps/app --jobs 4 --first orders --exclude-table-data 'log.*'
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
			return a.pgDump(cmd.Context(), options, dir)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&dir, "output", "o", "", "directory that the dump is written to")
	database.add(f)
	f.StringVar(&compress, "compress", "", "zstd, gzip or none (default zstd; gzip with pg_dump 15 or older, whose pg_restore reads nothing else)")
	f.IntVar(&options.Level, "level", 0, "compression level: zstd 1 to 19, gzip 1 to 9 (default 1)")
	f.DurationVar(&options.StallWarn, "stall-warn", config.DefaultStallWarn, "warn when nothing has been read for this long; 0: never")
	f.DurationVar(&options.StallFail, "stall-fail", config.DefaultStallFail, "then end the dump; 0: never")
	return cmd
}

// pgDump needs no catalog and creates no home.
func (a *app) pgDump(ctx context.Context, options postgres.Options, dir string) error {
	if _, err := a.configure(); err != nil {
		return err
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	tracker := progress.New(nil)
	env := postgres.Env{Tracker: tracker, Say: a.printer.Info, Warn: a.printer.Warn}
	return a.told(a.shown(ctx, tracker, pgView, func(ctx context.Context) error {
		summary, err := postgres.Dump(ctx, env, options, dir)
		if err == nil {
			a.finish(ctx, dumpText(summary), summary)
		}
		return err
	}))
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
