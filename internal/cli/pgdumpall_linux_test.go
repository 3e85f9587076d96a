package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"capstan/internal/capstantest/pgtest"
)

// oddDatabases have names that are hard on directories, URLs, keywords and statements.
func oddDatabases() []string {
	return []string{"sp ace 'q' \"d\" \\b\nend", "per%cent@x?y=1&z#", "a/b", "A/B", "..", "globals.sql", "app.part", strings.Repeat("ü", 31) + "x", "-o"}
}

// inDatabase are the keywords that lead to a database of any name.
func inDatabase(s *pgtest.Server, database string) string {
	return s.DSN("postgres") + " dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"
}

// plainOf is a database as the stock pg_dump says it.
func plainOf(t *testing.T, s *pgtest.Server, database string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), pgtest.Client(t, 15, "pg_dump"), "--dbname="+inDatabase(s, database)).Output()
	if err != nil {
		t.Fatalf("%s: %v", database, err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

type allSummary struct {
	Type, Status, Globals string
	Databases             []struct{ Database, Directory, Status, Error string }
	Closed                []string `json:"not_connectable"`
	Excluded              []string
}

// All databases of a server are dumped and restored on another, whatever they are called:
// each is the same there, and so are the roles; one alone can be had too.
func TestPgDumpAll(t *testing.T) {
	t.Parallel()
	f := newField(t)
	from, to := pgtest.New(t, pgtest.Options{Major: 15, Memory: true}), pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	from.Start()
	to.Start()
	from.Exec("CREATE ROLE clerk LOGIN PASSWORD 'hidden'", "CREATE DATABASE closed", "ALTER DATABASE closed ALLOW_CONNECTIONS false", "CREATE DATABASE pattern IS_TEMPLATE true",
		"CREATE TABLE lives_in_postgres (n int)", "ALTER DATABASE postgres SET work_mem = '5MB'", "CREATE DATABASE test_1")
	for _, name := range oddDatabases() {
		from.Exec("CREATE DATABASE " + pgx.Identifier{name}.Sanitize() + " OWNER clerk")
		if name == "-o" { // which stays empty
			continue
		}
		conn, err := pgx.Connect(t.Context(), inDatabase(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.PgConn().Exec(t.Context(), `CREATE TABLE "T %s ""1""" (n int); INSERT INTO "T %s ""1""" SELECT n FROM generate_series(1, 100) n; CREATE TABLE marker (name text); INSERT INTO marker SELECT current_database()`).ReadAll(); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(f.dir, "dumps", "all")
	dump := []string{"pg", "dump", from.URL("postgres"), "--all-databases", "-o", dir, "--exclude-database", "test_*"}
	var summary allSummary
	e := f.exits(0, append(dump, "--json"), "closed")
	object(t, e, &summary)
	if summary.Status != "complete" || summary.Globals != "complete" || len(summary.Databases) != len(oddDatabases())+1 || !slices.Equal(summary.Closed, []string{"closed"}) || !slices.Equal(summary.Excluded, []string{"test_1"}) {
		t.Errorf("%+v", summary)
	}
	var kept allSummary
	receipt, err := os.ReadFile(filepath.Join(dir, "capstan-databases.json"))
	if err != nil || json.Unmarshal(receipt, &kept) != nil || kept.Status != "complete" || len(kept.Databases) != len(summary.Databases) {
		t.Errorf("%s, %v", receipt, err)
	}
	f.exits(4, dump, "is there already")

	if out := f.run("pg", "ls", dir, "--json"); strings.Count(out, `"marker"`) != len(oddDatabases())-1 {
		t.Error(out)
	}
	if out := f.run("pg", "cat", dir, "--database", "a/b", "marker"); out != "a/b\n" {
		t.Errorf("%q", out)
	}
	f.exits(2, []string{"pg", "cat", dir, "marker"}, "--database")
	f.exits(10, []string{"pg", "cat", dir, "marker", "--database", "nowhere"}, "nowhere")
	f.exits(2, []string{"pg", "restore", dir, "--to", to.URL("postgres")}, "it holds several dumps", "--database")

	restore := []string{"pg", "restore", dir, "--to", to.URL("postgres"), "--all-databases"}
	f.exits(10, restore, "the server does not have them", "nothing was changed")
	f.exits(2, append(restore, "--table", "t"), "--all-databases")
	to.Exec(`CREATE DATABASE "app.part"`)
	f.exits(4, append(restore, "--create"), "databases app.part", "nothing was changed")
	to.Exec(`DROP DATABASE "app.part"`)
	e = f.exits(0, append(restore, "--create"))
	if !strings.Contains(e.out, "roles and tablespaces: 1 made") || strings.Contains(e.out+e.err, "SCRAM") {
		t.Errorf("%s%s", e.out, e.err)
	}
	for _, name := range append(oddDatabases(), "postgres") {
		sameText(t, plainOf(t, to, name), plainOf(t, from, name))
	}
	if got := textIn(t, to, "postgres", "SELECT current_setting('work_mem')"); got != "5MB" {
		t.Errorf("the settings of postgres are not there: %s", got)
	}
	f.exits(0, []string{"pg", "restore", dir, "--database", oddDatabases()[0], "--to", to.URL("again"), "--create"})
	if got := textIn(t, to, "again", "SELECT name FROM marker"); got != oddDatabases()[0] {
		t.Errorf("%q", got)
	}
	f.exits(2, []string{"pg", "dump", from.URL("postgres"), "--all-databases", "-o", dir + "2", "--table", "t"}, "--table")
	f.exits(2, []string{"pg", "dump", from.URL("postgres"), "-o", dir + "2", "--exclude-database", "t"}, "--all-databases")
	f.exits(10, []string{"pg", "dump", from.URL("postgres"), "--all-databases", "-o", dir + "2", "--exclude-database", "*"}, "all are excluded")
	one := filepath.Join(f.dir, "one")
	f.exits(0, []string{"pg", "dump", from.URL("app.part"), "-o", one, "--globals"})
	f.exits(0, []string{"pg", "restore", one, "--to", to.URL("third"), "--create", "--globals"})
}

// A database that fails is named and the others go on: exit 3, and the directory never
// says that it is complete; its restore says what it lacks. Where none is left, nothing
// is. What is interrupted or killed leaves nothing at its place.
func TestPgDumpAllPartial(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s, to := pgtest.New(t, pgtest.Options{Major: 15, Memory: true}), pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	to.Start()
	s.Exec("CREATE DATABASE app", "CREATE DATABASE busy", "CREATE DATABASE shop", "CREATE ROLE nobody LOGIN", "REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
	for _, name := range []string{"app", "busy", "shop"} {
		if _, err := s.Conn(name).Exec(t.Context(), "CREATE TABLE t AS SELECT 1 AS n"); err != nil {
			t.Fatal(err)
		}
	}
	holder := s.Conn("busy")
	if _, err := holder.Exec(t.Context(), "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.dir, "all")
	dump := []string{"pg", "dump", s.URL("postgres"), "--all-databases", "-o", dir}
	var summary allSummary
	e := f.exits(3, append(dump, "--json", "--lock-wait", "1s"), "database busy", "all others are there")
	object(t, e, &summary)
	if summary.Status != "partial" || len(summary.Databases) != 4 || summary.Databases[1].Database != "busy" || summary.Databases[1].Status != "failed" || summary.Databases[1].Error == "" {
		t.Errorf("%+v", summary)
	}
	if receipt, err := os.ReadFile(filepath.Join(dir, "capstan-databases.json")); err != nil || strings.Contains(string(receipt), `"status": "complete",
  "started"`) || !strings.Contains(string(receipt), `"status": "partial"`) {
		t.Errorf("%s, %v", receipt, err)
	}
	f.exits(3, []string{"pg", "restore", dir, "--to", to.URL("postgres"), "--all-databases", "--create"}, "the dump is not whole", "database busy")
	if n := textIn(t, to, "shop", "SELECT count(*) FROM t"); n != "1" {
		t.Errorf("%s rows", n)
	}

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		again := append(slices.Clone(dump[:4]), "-o", dir+"2")
		p := f.start(append(again, "--lock-timeout", "10m")...)
		pgtest.Eventually(t, verdict, func() (bool, string) {
			return s.Text("SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND application_name = 'capstan'") == "1", "it waits"
		})
		if _, err := os.Stat(filepath.Join(dir+"2.part", "dump", "app", "toc.dat")); err != nil {
			t.Error(err)
		}
		f.exits(11, again, "another dump is being written there")
		p.signal(signal)
		e := p.end()
		if signal == syscall.SIGINT && e.code != 130 {
			t.Errorf("exit %d: %s", e.code, e.err)
		}
		if _, err := os.Stat(dir + "2"); err == nil {
			t.Error("half a dump is at its place")
		}
		if _, err := os.Stat(dir + "2.part"); err == nil && signal == syscall.SIGINT {
			t.Error("what was interrupted is left")
		}
	}
	if _, err := holder.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	f.exits(0, append(slices.Clone(dump[:4]), "-o", dir+"2"))
	if left, err := filepath.Glob(dir + "2*"); err != nil || len(left) != 1 {
		t.Errorf("%q are left", left)
	}

	url := strings.Replace(s.URL("postgres"), "postgres@", "nobody@", 1)
	f.exits(3, []string{"pg", "dump", url, "--all-databases", "-o", dir + "3"}, "database shop", "permission denied", "database app")
	f.exits(1, []string{"pg", "dump", url, "--all-databases", "-o", dir + "4", "--exclude-database", "postgres"}, "permission denied")
	if _, err := os.Stat(dir + "4"); err == nil {
		t.Error("a dump of nothing is there")
	}
}
