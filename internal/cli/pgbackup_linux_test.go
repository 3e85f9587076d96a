package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// shop fills a database with what a dump has to bring: tables of several sizes, an empty
// one, one without columns, large objects, a partitioned table, quoted names.
const shop = `
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders SELECT n, 'order ' || n || repeat(' padded', n % 7) FROM generate_series(1, 20000) n;
CREATE TABLE lines (id int REFERENCES orders, what text);
INSERT INTO lines SELECT 1 + n % 20000, md5(n::text) || md5((n * 7)::text) FROM generate_series(1, 60000) n;
CREATE TABLE empty (a int);
CREATE TABLE nothing ();
CREATE SCHEMA "Odd ""one""";
CREATE TABLE "Odd ""one"""."a.b/c" ("x y" text);
INSERT INTO "Odd ""one"""."a.b/c" VALUES (E'a\tb\\'), (NULL), ('');
CREATE TABLE parts (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (500);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (500) TO (1000);
INSERT INTO parts SELECT n, 'part' FROM generate_series(0, 999) n;
CREATE SEQUENCE counter START 42; SELECT nextval('counter');
SELECT lo_from_bytea(4711, decode(repeat('deadbeef', 50000), 'hex'));
SELECT lo_from_bytea(4712, '');
`

// shopIn makes the shop in a new database.
func shopIn(t *testing.T, s *pgtest.Server, database string) {
	t.Helper()
	s.Exec("CREATE DATABASE " + database)
	if _, err := s.Conn(database).PgConn().Exec(t.Context(), shop).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// secretLine is what pg_dump makes up anew each time.
var secretLine = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`)

// plain is what the stock pg_dump says of a database.
func plain(t *testing.T, s *pgtest.Server, database string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), pgtest.Client(t, s.Major, "pg_dump"), "-Fp", s.URL(database)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return secretLine.ReplaceAllString(string(out), "")
}

// unpacked unpacks all archives of a set with the stock tar, in their order.
func unpacked(t *testing.T, dir string) string {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(dir, "backup_*.tar*"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives in %s: %v", dir, err)
	}
	slices.Sort(archives)
	to := t.TempDir()
	for _, archive := range archives {
		if out, err := exec.CommandContext(t.Context(), "tar", "-xf", archive, "-C", to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return to
}

// pgRestored restores a dump with the stock pg_restore into a new database.
func pgRestored(t *testing.T, s *pgtest.Server, dir, database string) {
	t.Helper()
	s.Exec("CREATE DATABASE " + database + " TEMPLATE template0")
	out, err := exec.CommandContext(t.Context(), pgtest.Client(t, s.Major, "pg_restore"), "--exit-on-error", "-j2", "-d", s.URL(database), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// textIn is the one value that a query gives in a database.
func textIn(t *testing.T, s *pgtest.Server, database, query string) (value string) {
	t.Helper()
	conn := s.Conn(database)
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), "SELECT ("+query+")::text").Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// sameText compares two plain dumps.
func sameText(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("line %d is %q, want %q", i+1, a[i], b[i])
		}
	}
	t.Fatalf("%d lines, want %d", len(a), len(b))
}

// A database is backed up into a set: the stock tar and the stock pg_restore bring it
// back byte for byte, and so does capstan.
func TestPgBackup(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			s := pgtest.New(t, pgtest.Options{Major: major, Memory: true})
			s.Start()
			shopIn(t, s, "shop")
			want := plain(t, s, "shop")
			e := f.exits(0, []string{"backup", s.URL("shop"), "--to", f.vol, "--first", "orders", "--jobs", "2", "--pg-dump", pgtest.Client(t, major, "pg_dump"), "--json"})
			var summary struct {
				Set, Status string
				Entries     int64
				BytesIn     int64 `json:"bytes_in"`
			}
			object(t, e, &summary)
			if summary.Status != "complete" || summary.Entries < 10 || summary.BytesIn == 0 {
				t.Errorf("%+v", summary)
			}
			out := f.run("ls", "latest", "shop")
			for _, name := range []string{"shop/toc.dat", "shop/capstan-receipt.json", "shop/blob_4711.dat"} {
				if !strings.Contains(out, name) {
					t.Errorf("no %s in\n%s", name, out)
				}
			}
			f.run("verify", "--read-data")
			pgRestored(t, s, filepath.Join(unpacked(t, filepath.Join(f.vol, summary.Set)), "shop"), "stock")
			sameText(t, plain(t, s, "stock"), want)

			if out := f.run("pg", "ls", "latest"); !strings.Contains(out, "orders") || !strings.Contains(out, "id, what") || !strings.Contains(out, "a.b/c") {
				t.Error(out)
			}
			if out := f.run("pg", "cat", summary.Set, "public.parts_1", "--csv"); strings.Count(out, "\n") != 501 || !strings.HasPrefix(out, "\"k\",\"v\"\n\"0\",\"part\"") {
				t.Errorf("%.200q", out)
			}
			restore := []string{"pg", "restore", "latest", "--to", s.URL("copy"), "--pg-restore", pgtest.Client(t, major, "pg_restore")}
			f.exits(0, append(restore, "--create"))
			sameText(t, plain(t, s, "copy"), want)
			f.exits(4, append(restore, "--create"), "already there")
			s.Exec("DROP DATABASE copy", "CREATE DATABASE copy")
			f.exits(0, append(restore, "--table", "orders"))
			if n := textIn(t, s, "copy", "select count(*) from orders"); n != "20000" {
				t.Errorf("%s rows", n)
			}
			if left, err := os.ReadDir(filepath.Join(f.dir, "home", "stage", "spool")); err != nil || len(left) > 0 {
				t.Errorf("left in the spool: %v, %v", left, err)
			}
		})
	}
}
