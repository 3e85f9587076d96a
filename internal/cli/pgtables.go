package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/copytext"
	"capstan/internal/daemon"
	"capstan/internal/dumpall"
	"capstan/internal/pgdump"
)

func (a *app) pgLsCommand() *cobra.Command {
	var from setDumpFlags
	cmd := &cobra.Command{
		Use: "ls DIR|SET", Short: "List the tables of a dump",
		Long: `List the tables whose rows are in a dump in pg_dump's directory format, or in those of a
set or of a directory of several, with the size of their files. No server is needed.`,
		Example: "  capstan pg ls /backup/app\n  capstan pg ls latest --job app\n  capstan pg ls /backup/app --json | jq -r .columns",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isSet(args[0]) {
				return a.withKeys(cmd.Context(), &from.keys, func(ctx context.Context, d *daemon.Daemon) error {
					return a.pgLsSet(ctx, d, args[0], &from)
				})
			}
			if err := a.open(cmd.Context()); err != nil {
				return err
			}
			return errors.Join(a.pgLsDir(args[0], from.database), a.out.Flush())
		},
	}
	from.add(cmd, false)
	a.jobFlag(cmd)
	return cmd
}

// pgLsDir lists a dump in a directory, or all in a directory of several.
func (a *app) pgLsDir(dir, database string) error {
	if _, err := os.Stat(filepath.Join(dir, pgdump.TOC)); err == nil || database != "" {
		chosen, err := dumpall.Choose(dir, database)
		if err != nil {
			return err
		}
		dump, err := pgdump.Open(os.DirFS(chosen))
		if err != nil {
			return err
		}
		return a.pgLs(dump)
	}
	found, missing, err := dumpall.Find(dir)
	if err != nil {
		return err
	}
	for _, name := range missing {
		a.printer.Warn("the dump is not whole: %s", name)
	}
	for _, f := range found {
		dump, err := pgdump.Open(os.DirFS(f.Dir))
		if err == nil {
			err = a.pgLs(dump)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) pgLs(dump *pgdump.Dump) error {
	var rows [][]string
	for _, table := range dump.Tables() {
		if a.flags.json {
			if err := a.object(table); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{table.Schema, table.Name, capstan.Bytes(table.Size).String(), table.File, strings.Join(table.Columns, ", ")})
	}
	if !a.flags.json {
		a.say("database %s, PostgreSQL %s, by pg_dump %s", dump.Database.Value, dump.ServerVersion.Value, dump.DumpVersion.Value)
	}
	return a.table([]string{"SCHEMA", "TABLE", "STORED", "FILE", "COLUMNS"}, rows)
}

func (a *app) pgCatCommand() *cobra.Command {
	var csv bool
	var from setDumpFlags
	cmd := &cobra.Command{
		Use: "cat DIR|SET TABLE", Short: "Write the rows of one table of a dump, as text of COPY or as CSV",
		Long: `Write the rows of one table of a dump in pg_dump's directory format, or in a set, to
stdout, without a server: as the text that COPY … FROM takes, or with --csv as comma-separated values
with a line of column names first (NULL is nothing, an empty string stands in quotes).
Damage is an error (exit 3) that names the row; what stands before it has been written.`,
		Example: "  capstan pg cat /backup/app public.orders --csv > orders.csv\n  capstan pg cat 2026-11_000001 orders\n  capstan pg cat /backup/app orders | psql -c 'copy orders from stdin' postgres://db/app",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isSet(args[0]) {
				return a.withKeys(cmd.Context(), &from.keys, func(ctx context.Context, d *daemon.Daemon) error {
					return a.pgCatSet(ctx, d, args, csv, &from)
				})
			}
			if err := a.open(cmd.Context()); err != nil {
				return err
			}
			dir, err := dumpall.Choose(args[0], from.database)
			if err != nil {
				return err
			}
			dump, err := pgdump.Open(os.DirFS(dir))
			if err != nil {
				return err
			}
			table, err := dump.Table(args[1])
			if err != nil {
				return err
			}
			return a.pgCat(cmd.Context(), dump, table, csv)
		},
	}
	cmd.Flags().BoolVar(&csv, "csv", false, "comma-separated values")
	from.add(cmd, false)
	a.jobFlag(cmd)
	return cmd
}

func (a *app) pgCat(ctx context.Context, dump *pgdump.Dump, table pgdump.Table, csv bool) error {
	in, err := dump.Rows(table)
	if err != nil {
		return err
	}
	rows := int64(0)
	if source := interruptible(in, func() error { return context.Cause(ctx) }); csv {
		rows, err = copytext.CSV(a.out, source, table.Columns)
	} else {
		rows, err = copytext.Copy(a.out, source)
	}
	err = errors.Join(err, in.Close(), a.out.Flush())
	if errors.Is(err, capstan.ErrDamaged) {
		return &capstan.Error{Class: capstan.ErrIncomplete, Op: "read", Object: "table " + table.String(), Err: err, Safe: fmt.Sprintf("%s before it were written", plural(rows, "row"))}
	}
	if err == nil {
		a.say("%s of %s", plural(rows, "row"), &table)
	}
	return err
}

// interruptible ends reading with the reason that ended gives, once there is one.
func interruptible(r io.Reader, ended func() error) io.Reader {
	return reads(func(p []byte) (int, error) {
		if err := ended(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

type reads func(p []byte) (int, error)

func (r reads) Read(p []byte) (int, error) { return r(p) }
