package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// All databases of a server go into one set, each a dump of its own, with the roles; by
// a role that is no superuser without their passwords.
func TestPgBackupAll(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec(`CREATE DATABASE "shop/eu"`, "CREATE DATABASE closed", "ALTER DATABASE closed ALLOW_CONNECTIONS false", "CREATE ROLE clerk LOGIN PASSWORD 'hidden' ROLE postgres", "CREATE DATABASE app OWNER clerk", "GRANT pg_read_all_data TO clerk")
	generation(t, s, "app", 2, 0)
	f.exits(0, []string{"backup", s.URL("postgres"), "--all-databases", "--to", f.vol})
	set := f.onlySet().Set
	dir := unpacked(t, filepath.Join(f.vol, set))
	top, err := os.ReadDir(dir)
	if err != nil || len(top) != 1 {
		t.Fatalf("%v, %v", top, err)
	}
	dir = filepath.Join(dir, top[0].Name())
	var names []string
	for _, path := range paths(t, dir) {
		if base := filepath.Base(path); base == "toc.dat" || base == "globals.sql" {
			names = append(names, path)
		}
	}
	if want := []string{"app/toc.dat", "globals.sql", "postgres/toc.dat", "shop_eu/toc.dat"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	globals, err := os.ReadFile(filepath.Join(dir, "globals.sql"))
	if err != nil || !strings.Contains(string(globals), "CREATE ROLE clerk") || !strings.Contains(string(globals), "PASSWORD 'SCRAM") {
		t.Errorf("%.300s, %v", globals, err)
	}
	pgRestored(t, s, filepath.Join(dir, "app"), "copy")
	sameText(t, plain(t, s, "copy"), plain(t, s, "app"))
	f.exits(2, []string{"pg", "cat", "latest", "g0"}, "--database")
	if out := f.run("pg", "cat", "latest", "g0", "--database", "app"); strings.Count(out, "\n") != 15000 {
		t.Errorf("%.100q", out)
	}
	f.exits(10, []string{"pg", "cat", "latest", "g0", "--database", "nowhere"}, "/app")
	if out := f.run("pg", "ls", "latest"); strings.Count(out, "g0") != 1 {
		t.Error(out)
	}
	f.exits(0, []string{"pg", "restore", "latest", "--database", "app", "--to", s.URL("again"), "--create"})
	sameText(t, plain(t, s, "again"), plain(t, s, "app"))

	clerk := fmt.Sprintf("host=%s port=%d user=clerk dbname=app", s.Socket, s.Port)
	e := f.exits(0, []string{"backup", clerk, "--globals", "--to", f.vol, "--json"}, "without their passwords")
	var summary summary
	object(t, e, &summary)
	if out := f.run("cat", summary.Set, "app/globals.sql"); !strings.Contains(out, "CREATE ROLE clerk") || strings.Contains(out, "PASSWORD 'SCRAM") {
		t.Errorf("%.300s", out)
	}
	f.exits(2, []string{"backup", f.dir, "--globals", "--to", f.vol}, "--globals", "databases")
}

// A job of the configuration backs up a database beside a tree; an incremental set
// holds the tree's changes and the whole of a new dump, and nothing else of the last.
func TestPgBackupJob(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("CREATE DATABASE app")
	generation(t, s, "app", 3, 0)
	f.fill(20)
	config := filepath.Join(f.dir, "capstan.yaml")
	text := fmt.Sprintf("jobs:\n  app:\n    sources: [%q, 'host=%s port=%d user=postgres dbname=app password=unused']\n    to: [%s]\n    exclude_table_data: [g1]\n    sessions: 1\n",
		f.data, s.Socket, s.Port, f.vol)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{f.run("jobs", "--config", config, "--json"), f.run("jobs", "--config", config)} {
		if strings.Contains(out, "unused") || !strings.Contains(out, "dbname") {
			t.Error(out)
		}
	}
	backup := []string{"backup", "--job", "app", "--config", config, "--incremental"}
	f.exits(0, backup)
	if out := f.run("pg", "cat", "latest", "g0"); strings.Count(out, "\n") != 15000 {
		t.Errorf("%.100q", out)
	}
	if out := f.run("pg", "ls", "latest", "--job", "app"); strings.Contains(out, "g1") {
		t.Error(out)
	}
	generation(t, s, "app", 3, 1) // g0 is gone, g3 is new
	var summary summary
	object(t, f.exits(0, append(backup, "--json")), &summary)
	if summary.Unchanged == 0 || summary.Stored == 0 {
		t.Errorf("%+v", summary)
	}
	f.exits(10, []string{"pg", "cat", "latest", "g0"})
	f.exits(0, []string{"pg", "restore", "latest", "--to", s.URL("copy"), "--create"})
	if n := textIn(t, s, "copy", "select count(*) from g3 where gen = 1"); n != "15000" {
		t.Errorf("%s rows", n)
	}
	back := t.TempDir()
	f.run("restore", "latest", "app", "--to", back)
	if files, listed := paths(t, back), f.run("ls", "latest", "app"); len(files) != strings.Count(listed, "app/") {
		t.Errorf("%q, but\n%s", files, listed)
	}
	alone := []string{"backup", s.URL("app"), "--to", f.vol, "--incremental"}
	f.exits(0, alone, "always dumped whole")
	f.exits(0, alone, "always dumped whole")
}
