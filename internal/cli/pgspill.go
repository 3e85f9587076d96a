package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pgdata"
	"capstan/internal/pgserver"
	"capstan/internal/pgslot"
)

func (a *app) pgSpillCommand(flags *pgFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "spill", Short: "What transactions spilled into replication slots: report, map to the WAL, purge",
		Long: `Spill files are what logical decoding puts aside of transactions that are larger than
logical_decoding_work_mem: one file for each transaction and subtransaction and WAL
segment, in the slot's directory in pg_replslot.`,
		Example: `  capstan pg spill report -D /var/lib/postgresql/15/main
  capstan pg spill map -D /var/lib/postgresql/15/main 407989064
  capstan pg spill purge -D /var/lib/postgresql/15/main`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.pgSpillReportCommand(flags), a.pgSpillMapCommand(flags), a.pgSpillPurgeCommand(flags))
	return cmd
}

func (a *app) pgSpillReportCommand(flags *pgFlags) *cobra.Command {
	var slot string
	var top int
	var interval time.Duration
	cmd := &cobra.Command{
		Use: "report", Short: "Files, bytes and largest transactions of each slot, how fast it spills, and what helps",
		Long: `Count the spill files of each slot, name the transactions with the most bytes and the
WAL segment with very many small files (a transaction with very many savepoints or
exception blocks), and say what would help with this version of the server and with
the next ones. Where the server runs and lets us in, its counters are looked at
twice, --interval apart, for how fast each slot spills now (14 and later).

Nothing is changed. Memory does not grow with the number of files. Beyond 16,384
transactions the largest ones are found by counters that may be too high; too_high
says by how much.`,
		Example: "  capstan pg spill report -D /var/lib/postgresql/15/main\n  capstan pg spill report -D /data --slot sub --json | jq '.files, .top[0].xid'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if top < 0 || interval < 0 {
				return usage("--top and --interval are not negative")
			}
			return a.pgRead(cmd.Context(), flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
				reports, err := pgserver.Spill(ctx, env, cluster, pgserver.SpillOptions{Slot: slot, Top: top, Interval: interval, URL: flags.url})
				for i := range reports {
					if err == nil {
						err = a.spillReport(&reports[i])
					}
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&slot, "slot", "", "only this slot")
	f.IntVar(&top, "top", 5, "how many of the largest transactions are named")
	f.DurationVar(&interval, "interval", 2*time.Second, "time between two looks at the server's counters; 0: no look")
	return cmd
}

func (a *app) spillReport(r *pgserver.SpillReport) error {
	if a.flags.json {
		return a.object(r)
	}
	transactions := output.Count(r.Transactions)
	if r.More {
		transactions = "more than " + transactions
	}
	lines := []string{fmt.Sprintf("%s: %s, %s, %s transactions, %s", r.Slot, plural(r.Files, "spill file"), capstan.Bytes(r.Bytes), transactions, plural(int64(r.Segments), "WAL segment"))}
	for _, t := range r.Top {
		lines = append(lines, fmt.Sprintf("  transaction %d: %s, %s", t.XID, capstan.Bytes(t.Bytes), plural(t.Files, "file")))
	}
	if r.Storm != nil {
		lines = append(lines, fmt.Sprintf("  storm: %s of %s in all for WAL segment %s", plural(r.Storm.Files, "file"), capstan.Bytes(r.Storm.Bytes), r.Storm.Segment))
	}
	if r.Rate != nil {
		lines = append(lines, fmt.Sprintf("  now: %.1f transactions and %s spilled a second", r.Rate.Transactions, output.Rate(r.Rate.Bytes)))
	}
	for _, advice := range r.Advice {
		lines = append(lines, "  - "+advice)
	}
	for _, line := range lines {
		if err := a.line(output.Clean(line)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) pgSpillMapCommand(flags *pgFlags) *cobra.Command {
	return &cobra.Command{
		Use: "map FILE|XID", Short: "Which WAL file a spill file comes from, which tables, and the command that proves it",
		Long: `Say where a spill file, or each of a transaction, comes from: the WAL file (computed,
since pg_walfile_name names the one before at a boundary), the changes by kind and
table as the file's own records tell, and the pg_waldump command that shows the same.
Tables are named where the server runs and --url names their database, else by
tablespace, database and file number. The file is read once, in bounded memory.`,
		Example: "  capstan pg spill map -D /data 407989064\n  capstan pg spill map -D /data /data/pg_replslot/sub/xid-407989064-lsn-42D1E-20000000.spill",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pgRead(cmd.Context(), flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
				place, err := pgserver.Slots(ctx, env, cluster)
				if err != nil {
					return err
				}
				name := pgserver.Namer(ctx, cluster, flags.url)
				defer name.Close(ctx)
				tell := func(path string) error {
					origin, err := place.Map(ctx, path)
					if err == nil {
						err = a.origin(name.Fill(ctx, origin))
					}
					return err
				}
				xid, err := strconv.ParseUint(args[0], 10, 32)
				if err != nil {
					path, err := filepath.Abs(args[0])
					if err != nil {
						return err
					}
					return tell(path)
				}
				found := 0
				err = place.FilesOf(ctx, uint32(xid), func(path string) error { found++; return tell(path) })
				if err == nil && found == 0 {
					err = &capstan.Error{Class: capstan.ErrNotFound, Op: "transaction", Object: args[0], Err: fmt.Errorf("no slot has a spill file of it"), Next: "see: capstan pg spill report -D " + cluster.Dir}
				}
				return err
			})
		},
	}
}

func (a *app) origin(o pgslot.Origin) error {
	if a.flags.json {
		return a.object(o)
	}
	kept := "which is still in pg_wal"
	if !o.Kept {
		kept = "which is not in pg_wal any more"
	}
	rows := [][2]string{
		{"file", o.File},
		{"wal", fmt.Sprintf("%s, %s; changes from %s to %s", o.Segment, kept, o.First, o.Last)},
		{"holds", fmt.Sprintf("%s, %s", plural(o.Records, "record"), capstan.Bytes(o.Bytes))},
	}
	for _, action := range []pgdata.Action{pgdata.ActionInsert, pgdata.ActionUpdate, pgdata.ActionDelete, pgdata.ActionTruncate} {
		if n := o.Changes[string(action)]; n > 0 {
			rows = append(rows, [2]string{"", plural(n, string(action))})
		}
	}
	for i, r := range o.Relations {
		if i == 20 {
			rows = append(rows, [2]string{"", fmt.Sprintf("and %d more", int64(len(o.Relations)-i)+o.Others)})
			break
		}
		table := r.Name
		if table == "" {
			table = fmt.Sprintf("tablespace %d, database %d, file %d", r.Tablespace, r.Database, r.Number)
		}
		rows = append(rows, [2]string{"table", fmt.Sprintf("%s: %s", table, plural(r.Changes, "change"))})
	}
	if o.Damage != "" {
		rows = append(rows, [2]string{"damage", o.Damage})
	}
	return a.pairs(append(rows, [2]string{"proof", o.Proof}))
}

func (a *app) pgSpillPurgeCommand(flags *pgFlags) *cobra.Command {
	var quarantine quarantineFlags
	options := pgslot.PurgeOptions{}
	cmd := &cobra.Command{
		Use: "purge", Short: "Remove the spill files that a start has moved away",
		Long: `Remove the spill files in the quarantines of "capstan pg start --unstick", beside the
running server and at a bounded rate. Only files whose names are those of spill files
are removed; the slot's old state and the record stay. It is refused before the
server has come up since. Interrupted, the next call goes on.`,
		Example: "  capstan pg spill purge -D /var/lib/postgresql/15/main --dry-run\n  capstan pg spill purge -D /data --rate 2000",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if options.Rate < 0 || options.Workers < 1 {
				return usage("--rate is not negative, --workers is at least 1")
			}
			where, err := quarantine.where()
			if err != nil {
				return err
			}
			return a.pgChange(cmd.Context(), flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
				done, err := pgserver.Purge(ctx, env, cluster, where, options)
				text, files := "", int64(0)
				for _, p := range done {
					files += p.Files
					text += fmt.Sprintf("  slot %s: %s in %s\n", p.Slot, plural(p.Files, "spill file"), output.Clean(p.Path))
					for _, name := range p.Named {
						text += "    stays: " + output.Clean(name) + "\n"
					}
				}
				head := plural(files, "spill file") + " removed\n"
				if options.DryRun {
					head = plural(files, "spill file") + " would be removed\n"
				}
				a.finish(ctx, head+text, map[string]any{
					"type": "summary", "data": cluster.Dir, "files": files, "quarantines": append([]pgslot.Purged{}, done...), "dry_run": options.DryRun,
				})
				return err
			})
		},
	}
	quarantine.add(cmd)
	f := cmd.Flags()
	f.IntVar(&options.Rate, "rate", 10_000, "files a second at most; 0: no limit")
	f.IntVar(&options.Workers, "workers", 2, "how many are removed at once")
	f.BoolVar(&options.DryRun, "dry-run", false, "only count them")
	return cmd
}
