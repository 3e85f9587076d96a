package cli_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/capstantest/slowfs"
)

// A dump goes encrypted onto two volumes through a stage that is smaller than it. Each
// volume alone brings it back. Damage is named by table before a database is touched,
// and costs no other table.
func TestPgBackupStaged(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("CREATE DATABASE app")
	generation(t, s, "app", 24, 0)
	key, public := newKey(t)
	other := filepath.Join(f.dir, "other")
	stage := filepath.Join(f.dir, "stage")
	e := f.exits(0, []string{
		"backup", s.URL("app"), "--to", f.vol, "--to", other, "--stage", stage, "--stage-size", "4MiB", "--encrypt-to", public, "--archive-size", "1MiB", "--json",
	})
	var summary summary
	object(t, e, &summary)
	if summary.Status != "complete" || summary.BytesIn < 6<<20 {
		t.Errorf("%+v: it would have fitted into the stage", summary)
	}
	for _, left := range []string{filepath.Join(stage, "spool"), filepath.Join(stage, "temp"), filepath.Join(stage, "final")} {
		if all, err := os.ReadDir(left); err != nil || len(all) > 0 {
			t.Errorf("left in %s: %v, %v", left, all, err)
		}
	}
	want := plain(t, s, "app")
	restore := func(to string, more ...string) []string {
		return append([]string{"pg", "restore", "latest", "--to", s.URL(to), "--create", "--stage", stage}, more...)
	}
	f.exits(12, restore("wrong"), "key")
	f.exits(1, restore("small", "--identity", key, "--stage-size", "2MiB"), "half of the stage")
	if err := os.Rename(f.vol, f.vol+" away"); err != nil {
		t.Fatal(err)
	}
	f.exits(0, restore("copy", "--identity", key))
	sameText(t, plain(t, s, "copy"), want)
	if err := os.Rename(other, other+" away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.vol+" away", f.vol); err != nil {
		t.Fatal(err)
	}
	f.exits(0, restore("again", "--identity", key))
	sameText(t, plain(t, s, "again"), want)

	archive := filepath.Join(f.vol, summary.Set, "backup_"+summary.Set+"_0002.tar.zst.age")
	content, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		content[len(content)/2+i] ^= 0xff
	}
	if err := os.WriteFile(archive, content, 0o600); err != nil {
		t.Fatal(err)
	}
	e = f.exits(3, restore("damaged", "--identity", key), "table public.g", "nothing was changed")
	if n := s.Text("select count(*) from pg_database where datname = 'damaged'"); n != "0" {
		t.Error("the database was made")
	}
	good, bad := 0, 0
	for i := range 24 {
		table := "public.g" + strconv.Itoa(i)
		named := strings.Contains(e.err, "table "+table+" ")
		cat := f.try("pg", "cat", "latest", table, "--identity", key)
		if named != (cat.code != 0) {
			t.Errorf("%s: named %v, exit %d: %s", table, named, cat.code, cat.err)
		}
		if cat.code == 0 && strings.Count(cat.out, "\n") == 15000 {
			good++
		} else {
			bad++
		}
	}
	if good == 0 || bad == 0 {
		t.Errorf("%d tables are good, %d bad", good, bad)
	}
}

// What ends a dump in its middle names the table or the place; no set is complete, and
// the next call makes a whole one.
func TestPgBackupFails(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	spoiled := "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE spoiled (what mood); INSERT INTO spoiled VALUES ('good');" +
		"SET allow_system_table_mods = on; DELETE FROM pg_enum WHERE enumtypid = 'mood'::regtype"
	for name, c := range map[string]struct {
		sql   string
		rule  slowfs.Rule // of the stage
		flags []string
		words []string
		cure  string
	}{
		"table": {sql: spoiled, words: []string{"public.spoiled", "invalid internal value for enum"}, cure: "DROP TABLE spoiled"},
		"full":  {rule: slowfs.Rule{Op: slowfs.Write, Name: "*.dat.*", After: 3, Errno: unix.ENOSPC}, words: []string{"spool the dump", "no space left", "--stage"}},
		"read":  {rule: slowfs.Rule{Op: slowfs.Read, Name: "*.dat.*", Errno: unix.EIO}, words: []string{"public.g", "input/output error"}},
		"small": {flags: []string{"--stage-size", "1MiB"}, words: []string{"half of the stage", "public.g0", "--stage-size"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			database := "fail_" + name
			s.Exec("CREATE DATABASE " + database)
			generation(t, s, database, 4, 0)
			if name == "small" { // larger than the spool
				c.sql = "INSERT INTO g0 SELECT 0, md5((n * 3)::text) FROM generate_series(1, 60000) n"
			}
			if c.sql != "" {
				if _, err := s.Conn(database).PgConn().Exec(t.Context(), c.sql).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			stage := filepath.Join(f.dir, "home", "stage")
			if err := os.MkdirAll(filepath.Dir(stage), 0o700); err != nil {
				t.Fatal(err)
			}
			args := []string{"backup", s.URL(database), "--to", f.vol, "--archive-size", "1MiB"}
			if c.rule.Op != "" {
				rule := f.slowly(stage).Add(c.rule)
				defer rule.End()
				e := f.try(args...)
				rule.End()
				checkFailed(t, name, e, c.words)
			} else {
				checkFailed(t, name, f.try(append(args, c.flags...)...), c.words)
			}
			for _, set := range f.sets() {
				if set.Status == "complete" {
					t.Errorf("set %s is complete", set.Set)
				}
			}
			if left, err := os.ReadDir(filepath.Join(stage, "spool")); err != nil || len(left) > 0 {
				t.Errorf("left in the spool: %v, %v", left, err)
			}
			pgtest.Eventually(t, verdict, func() (bool, string) { // the server sees the end of a connection a moment later
				return s.Text("select count(*) from pg_stat_activity where application_name = 'capstan' and datname = '"+database+"'") == "0", "its sessions end"
			})
			if c.cure != "" {
				if _, err := s.Conn(database).Exec(t.Context(), c.cure); err != nil {
					t.Fatal(err)
				}
			}
			f.exits(0, args)
			f.wholeDump(s, database, filepath.Join(f.vol, f.onlySet().Set))
		})
	}
}

func checkFailed(t *testing.T, name string, e ended, words []string) {
	t.Helper()
	if e.code != 1 {
		t.Errorf("%s: exit %d: %s", name, e.code, e.err)
	}
	for _, word := range words {
		if !strings.Contains(e.err, word) {
			t.Errorf("no %q in %s", word, e.err)
		}
	}
}
