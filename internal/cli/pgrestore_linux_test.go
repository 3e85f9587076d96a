package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// A dump of the stock pg_dump is listed, read table by table without a server, and
// restored under another name.
func TestPgRestore(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("CREATE DATABASE app", "CREATE SCHEMA other")
	if _, err := s.Conn("app").PgConn().Exec(t.Context(), `CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders VALUES (1, E'a\tb"'), (2, NULL), (3, '');
		CREATE VIEW v AS SELECT * FROM orders; CREATE SCHEMA other; CREATE TABLE other.orders (x int)`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.dir, "dump")
	if out, err := exec.CommandContext(t.Context(), pgtest.Client(t, 15, "pg_dump"), "-Fd", "-f", dir, s.URL("app")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out := f.run("pg", "ls", dir); !strings.Contains(out, "public") || !strings.Contains(out, "id, note") {
		t.Error(out)
	}
	if out := f.run("pg", "ls", dir, "--json"); !strings.Contains(out, `"schema":"other","name":"orders","columns":["x"]`) {
		t.Error(out)
	}
	if out := f.run("pg", "cat", dir, "public.orders"); out != "1\ta\\tb\"\n2\t\\N\n3\t\n" {
		t.Errorf("%q", out)
	}
	if out := f.run("pg", "cat", dir, "public.orders", "--csv"); out != "\"id\",\"note\"\n\"1\",\"a\tb\"\"\"\n\"2\",\n\"3\",\"\"\n" {
		t.Errorf("%q", out)
	}
	f.exits(2, []string{"pg", "cat", dir, "orders"}, "other.orders and public.orders")
	f.exits(10, []string{"pg", "cat", dir, "none"}, "none")
	f.exits(10, []string{"pg", "ls", t.TempDir()}, "toc.dat")

	f.exits(2, []string{"pg", "restore", dir}, "--to")
	f.exits(4, []string{"pg", "restore", dir, "--to", s.URL("app")}, "orders", "already there")
	f.exits(10, []string{"pg", "restore", dir, "--to", s.URL("copy")}, "--create")
	e := f.exits(0, []string{"pg", "restore", dir, "--to", s.URL("copy"), "--create", "--json"})
	if !strings.Contains(e.out, `"type":"summary"`) || !strings.Contains(e.out, `"tables":2`) || !strings.Contains(e.out, `"problems":[]`) {
		t.Error(e.out)
	}
	var n int
	copied := s.Conn("copy")
	if err := copied.QueryRow(t.Context(), "SELECT count(*) FROM v").Scan(&n); err != nil || n != 3 {
		t.Errorf("%d rows, %v", n, err)
	}
	if _, err := copied.Exec(t.Context(), "DROP VIEW v; CREATE VIEW v AS SELECT 1 AS other; CREATE VIEW hangs_on AS SELECT * FROM orders"); err != nil {
		t.Fatal(err)
	}
	f.exits(3, []string{"pg", "restore", dir, "--to", s.URL("copy"), "--clean"}, "could not be restored")

	files, err := filepath.Glob(filepath.Join(dir, "*.dat.gz"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if err := os.Truncate(file, 12); err != nil {
			t.Fatal(err)
		}
	}
	f.exits(3, []string{"pg", "cat", dir, "public.orders"}, "public.orders")
}
