package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/daemon"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pglock"
)

// lockFlags are the flags of pg locks.
type lockFlags struct {
	watch  time.Duration
	tables bool
	since  []string
	keys   keyFlags
}

func (a *app) pgLocksCommand(flags *pgFlags) *cobra.Command {
	own := lockFlags{}
	cmd := &cobra.Command{
		Use: "locks [URL]", Short: "Show who waits for whose lock, and what a dump would lock",
		Long: `Show every session of the server that waits for a lock, since when, for what and
behind whom: those who hold it, and those who stand before it in the queue. A
statement that waits for ACCESS EXCLUSIVE (most of DDL) makes everybody wait who comes
after it, readers too; such ones are named, and so is the session where it begins.

Then it says which tables a dump of the database would lock (in ACCESS SHARE mode),
whom it would wait for, and whether the server's lock table has room for it.

Then which tables were truncated, rewritten or made anew since the newest set with a
dump of the database, if the catalog has one: those that a dump is in the way of, and
that are in its way. --since names other dumps, and may be repeated: a set, the receipt
of a dump, the directory of one, or a directory that holds several.

Nothing is changed and no table is locked. Names of tables are known in the database
that it connects to. A role without pg_read_all_stats sees no statements of others.
With --watch it looks again and again, and prints whenever somebody waits, until it
is ended. With --json each look is a line.`,
		Example: `  capstan pg locks postgres://postgres@db/app
  capstan pg locks postgres://postgres@db/app --watch 2s
  capstan pg locks postgres://postgres@db/app --since /srv/dumps
  capstan pg locks postgres://postgres@db/app --since latest --job app
  capstan pg locks -D /var/lib/postgresql/15/main --json | jq '.advice[].says'`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			url := flags.url
			if len(args) == 1 {
				if url != "" && url != args[0] {
					return usage("name the server once, not by URL and by --url")
				}
				url = args[0]
			}
			if cmd.Flags().Changed("watch") && own.watch < 100*time.Millisecond {
				return usage("--watch is at least 100ms")
			}
			if own.watch > 0 && len(own.since) > 0 {
				return usage("--watch looks at locks alone, without --since")
			}
			return a.pgLocksAt(cmd.Context(), flags, url, own)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&own.watch, "watch", 0, "look again at this interval until ended")
	f.BoolVar(&own.tables, "tables", false, "name every table that a dump would lock, with its size")
	f.StringArrayVar(&own.since, "since", nil, "a set, a receipt, a dump, or a directory of dumps: name the tables that were rewritten since then; may be repeated (default the newest set with a dump of the database)")
	own.keys.add(cmd)
	a.jobFlag(cmd)
	return cmd
}

// pgLocksAt looks with the catalog where a set is named, or might be found in it; without
// one where there is none. A look at locks must not fail for want of a catalog that nobody
// asked for.
func (a *app) pgLocksAt(ctx context.Context, flags *pgFlags, url string, own lockFlags) error {
	asked := slices.ContainsFunc(own.since, isReceiptSet)
	settings, err := a.configure()
	if err != nil {
		return err
	}
	if !asked {
		_, missing := os.Stat(settings.Catalog)
		if len(own.since) > 0 || own.watch > 0 || missing != nil {
			if err := a.open(ctx); err != nil {
				return err
			}
			return errors.Join(a.pgLocks(ctx, nil, flags, url, own), a.out.Flush())
		}
	}
	opened := false
	err = a.withKeys(ctx, &own.keys, func(ctx context.Context, d *daemon.Daemon) error {
		opened = true
		return a.pgLocks(ctx, d, flags, url, own)
	})
	if err == nil || opened || asked || a.printer == nil || ctx.Err() != nil {
		return err
	}
	a.printer.Warn("looking without the catalog: %v", err)
	return errors.Join(a.pgLocks(ctx, nil, flags, url, own), a.out.Flush())
}

// receiptPatience is how long a volume may take to give a receipt that was not asked for.
const receiptPatience = 30 * time.Second

// sinceSets is pgSince where nothing was named: what is not to be had is said, and the look
// goes on without it.
func (a *app) sinceSets(ctx context.Context, d *daemon.Daemon, conn *pg.Conn) (*since, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, receiptPatience, fmt.Errorf("it does not answer for %s", receiptPatience))
	defer cancel()
	between, err := a.pgSince(bounded, d, conn, nil)
	if err != nil && ctx.Err() == nil {
		a.printer.Warn("what was rewritten since the last set is not known: %v", err)
		err = nil
	}
	return between, err
}

// pgLocks looks; d is nil where no catalog is needed.
func (a *app) pgLocks(ctx context.Context, d *daemon.Daemon, flags *pgFlags, url string, own lockFlags) error {
	conn, err := flags.connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to be written
	look := func() (pglock.Report, error) { return pglock.Look(ctx, conn) }
	if err := pglock.Prepare(ctx, conn); err != nil {
		return failedLook(ctx, err)
	}
	if own.watch > 0 {
		return a.watchLocks(ctx, look, own.watch)
	}
	report, err := look()
	if err != nil {
		return failedLook(ctx, err)
	}
	need, err := pglock.Count(ctx, conn)
	if err != nil {
		return failedLook(ctx, err)
	}
	var between *since
	switch {
	case len(own.since) > 0:
		between, err = a.pgSince(ctx, d, conn, own.since)
	case d != nil:
		between, err = a.sinceSets(ctx, d, conn)
	}
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.object(struct {
			pglock.Report
			Dump  pglock.Need `json:"dump"`
			Since *since      `json:"since,omitempty"`
		}{report, need, between})
	}
	return errors.Join(a.locksText(report), a.needText(need, own.tables), a.sinceText(between))
}

// connect connects to the server of a URL, or to that of the data directory.
func (f *pgFlags) connect(ctx context.Context, url string) (*pg.Conn, error) {
	if url != "" {
		return pg.Connect(ctx, url)
	}
	cluster, err := f.cluster()
	if err != nil {
		return nil, err
	}
	server, err := cluster.Server()
	if err != nil {
		return nil, err
	}
	return cluster.Connect(ctx, server, "")
}

// watchLocks looks until the context ends. It prints for people what it sees while
// somebody waits, and once when nobody does any more.
func (a *app) watchLocks(ctx context.Context, look func() (pglock.Report, error), every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for tell := true; ; {
		report, err := look()
		if err != nil {
			return failedLook(ctx, err)
		}
		switch waits := len(report.Waits) > 0; {
		case a.flags.json:
			err = a.object(report)
		case tell || waits:
			err = errors.Join(a.line(report.Time.Local().Format(timeLayout)), a.locksText(report))
			tell = waits
		}
		if err := errors.Join(err, a.out.Flush()); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// failedLook is why a look was not possible.
func failedLook(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &capstan.Error{Op: "look at the locks of", Object: "the server", Err: err, Safe: "nothing was changed"}
}

func (a *app) locksText(report pglock.Report) error {
	if len(report.Waits) == 0 {
		return a.line("nobody waits for a lock")
	}
	rows := make([][]string, 0, len(report.Waits))
	for _, w := range report.Waits {
		behind := make([]string, 0, len(w.Behind))
		for _, b := range w.Behind {
			who := fmt.Sprint(b.PID)
			switch {
			case b.PID == 0:
				who = "a prepared transaction"
			case b.Queued:
				who += " (queued)"
			}
			behind = append(behind, who)
		}
		rows = append(rows, []string{fmt.Sprint(w.PID), w.Role, w.Application, seconds(w.Seconds), w.Mode, w.Object, strings.Join(behind, ", "), shortened(w.Query)})
	}
	if err := a.table([]string{"PID", "ROLE", "APPLICATION", "WAITS", "FOR", "ON", "BEHIND", "STATEMENT"}, rows); err != nil {
		return err
	}
	for _, advice := range report.Advice {
		if err := a.line(output.Clean(advice.Says) + "\n  " + output.Clean(advice.Next)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) needText(need pglock.Need, all bool) error {
	room := fmt.Sprintf("there is room for %d, %d are used", need.Room, need.Used)
	if need.Advised > 0 {
		room += fmt.Sprintf(": too little; set max_locks_per_transaction = %d (now %d) and restart the server", need.Advised, need.PerTransaction)
	}
	if err := a.line(fmt.Sprintf("a dump would lock %s, twice each; %s", plural(int64(len(need.Tables)), "table"), room)); err != nil {
		return err
	}
	var rows [][]string
	for _, table := range need.Tables {
		taken := ""
		if table.Taken > 0 {
			taken = fmt.Sprintf("it would wait for session %d", table.Taken)
		}
		if all || taken != "" {
			rows = append(rows, []string{table.Name, capstan.Bytes(table.Size).String(), taken})
		}
	}
	return a.table([]string{"TABLE", "SIZE", ""}, rows)
}

// shortened is the beginning of a statement, for a column.
func shortened(statement string) string {
	const longest = 60
	words := strings.Join(strings.Fields(statement), " ")
	if runes := []rune(words); len(runes) > longest {
		return string(runes[:longest-3]) + "..."
	}
	return words
}
