package pgdump_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/copytext"
	"capstan/internal/pgdump"
)

// The rows of a dump that pg_dump wrote, however compressed, are those that the server
// has; tables with odd names, without rows and without columns among them.
func TestStockDumps(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("CREATE TABLE big AS SELECT n, md5(n::text) AS h FROM generate_series(1, 20000) n", `CREATE SCHEMA "S."`,
		`CREATE TABLE "S."."odd "", (name" ("a b" text, gone int, c int GENERATED ALWAYS AS (1) STORED, "d""" text)`, `ALTER TABLE "S."."odd "", (name" DROP gone`,
		`INSERT INTO "S."."odd "", (name" ("a b", "d""") VALUES (E'a\tb', NULL), ('', 'x')`, "CREATE TABLE empty0 ()", "CREATE TABLE big2 (a int)", "CREATE VIEW v AS SELECT 1",
		"CREATE TABLE p (a int) PARTITION BY LIST (a)", "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)", "INSERT INTO p VALUES (1)", `CREATE TABLE "S.".big2 (a int)`, "SELECT lo_from_bytea(0, 'large')")
	for name, args := range map[string][]string{
		"15 gzip": {pgtest.Client(t, 15, "pg_dump")}, "17 zstd": {pgtest.Client(t, 17, "pg_dump"), "-Zzstd:3"}, "18 plain": {pgtest.Client(t, 18, "pg_dump"), "-Z0"},
	} {
		dir := filepath.Join(t.TempDir(), "dump")
		if out, err := exec.CommandContext(t.Context(), args[0], append(args[1:], "-Fd", "-f", dir, s.URL("postgres"))...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		dump, err := pgdump.Open(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, table := range dump.Tables() {
			names = append(names, table.String())
			if got, want := rowsOf(t, dump, table), copyOf(t, s, table); got != want {
				t.Errorf("%s: rows of %s: %d bytes, want %d", name, &table, len(got), len(want))
			}
		}
		if want := []string{"S..big2", `S..odd ", (name`, "public.big", "public.big2", "public.empty0", "public.p1"}; !slices.Equal(names, want) {
			t.Errorf("%s: tables %q", name, names)
		}
		if table, err := dump.Table(`odd ", (name`); err != nil || !slices.Equal(table.Columns, []string{"a b", `d"`}) {
			t.Errorf("%s: %+v, %v", name, table, err)
		}
		if _, err := dump.Table("big2"); !errors.Is(err, capstan.ErrUsage) {
			t.Errorf("%s: a name that two schemas have: %v", name, err)
		}
		if _, err := dump.Table("none"); !errors.Is(err, capstan.ErrNotFound) {
			t.Errorf("%s: a table that is not there: %v", name, err)
		}
		damage(t, name, dir, dump)
	}
}

func rowsOf(t *testing.T, dump *pgdump.Dump, table pgdump.Table) string {
	t.Helper()
	in, err := dump.Rows(table)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var rows bytes.Buffer
	if _, err := copytext.Copy(&rows, in); err != nil {
		t.Fatalf("%s: %v", &table, err)
	}
	return rows.String()
}

func copyOf(t *testing.T, s *pgtest.Server, table pgdump.Table) string {
	t.Helper()
	quoted := func(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
	var rows bytes.Buffer
	if _, err := s.Conn("postgres").PgConn().CopyTo(t.Context(), &rows, fmt.Sprintf("COPY %s.%s TO STDOUT", quoted(table.Schema), quoted(table.Name))); err != nil {
		t.Fatal(err)
	}
	return rows.String()
}

// damage cuts the largest table's file: nobody takes its rows for whole. A file that
// is gone is noticed at once.
func damage(t *testing.T, name, dir string, dump *pgdump.Dump) {
	t.Helper()
	table, err := dump.Table("big")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, table.File), table.Size/2); err != nil {
		t.Fatal(err)
	}
	in, err := dump.Rows(table)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copytext.Copy(io.Discard, in); !errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("%s: half a file: %v", name, err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, table.File)); err != nil {
		t.Fatal(err)
	}
	if _, err := pgdump.Open(os.DirFS(dir)); !errors.Is(err, capstan.ErrDamaged) || !strings.Contains(err.Error(), "public.big") {
		t.Errorf("%s: without a file: %v", name, err)
	}
	if err := os.Remove(filepath.Join(dir, pgdump.TOC)); err != nil {
		t.Fatal(err)
	}
	if _, err := pgdump.Open(os.DirFS(dir)); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("%s: without a table of contents: %v", name, err)
	}
}
