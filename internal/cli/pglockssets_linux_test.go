package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// A look at locks finds the newest set with a dump of the database by itself, and names the
// tables that were rewritten since; sets can be named too. Without a catalog it looks all
// the same and makes none, and a volume that is gone is no reason not to look.
func TestPgLocksSets(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec(`CREATE DATABASE "app/1"`, "CREATE DATABASE other")
	app := s.Conn("app/1")
	do := func(sql string) {
		t.Helper()
		if _, err := app.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	do(`CREATE TABLE cache (n int); CREATE TABLE "Load %" (n int); CREATE TABLE kept (n int)`)
	url := strings.Replace(s.URL("postgres"), "/postgres?", "/app%2F1?", 1)
	locks := []string{"pg", "locks", url}
	look := func(flags ...string) (since struct {
		Dumps   int
		Sets    []string
		Changes []struct{ Table, First, Exclude string }
	},
	) {
		t.Helper()
		var report struct{ Since any }
		report.Since = &since
		if err := json.Unmarshal([]byte(f.exits(0, append(append(locks, "--json"), flags...)).out), &report); err != nil {
			t.Fatal(err)
		}
		return since
	}

	if since := look(); since.Dumps != 0 {
		t.Errorf("%+v", since)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "home")); err == nil {
		t.Error("a look has made a home")
	}
	f.fill(3)
	f.exits(0, []string{"backup", f.data, "--to", f.vol})
	if since := look(); since.Dumps != 0 {
		t.Errorf("%+v", since)
	}
	f.exits(0, []string{"backup", url, "--to", f.vol})
	sets := f.sets()
	first := sets[len(sets)-1].Set
	do(`TRUNCATE cache`)
	if out := f.exits(0, locks).out; !strings.Contains(out, "public.cache") || !strings.Contains(out, "--exclude-table public.cache") || !strings.Contains(out, "in set "+first) || strings.Contains(out, "kept") {
		t.Error(out)
	}
	f.exits(0, []string{"backup", s.URL("postgres"), "--all-databases", "--to", f.vol})
	sets = f.sets()
	second := sets[len(sets)-1].Set
	f.exits(0, []string{"backup", s.URL("other"), "--to", f.vol})
	do(`TRUNCATE "Load %"`)
	if since := look(); since.Dumps != 1 || since.Sets[0] != second || len(since.Changes) != 1 || since.Changes[0].Exclude != `--exclude-table 'public."Load %"'` || since.Changes[0].First != `--first 'public.Load %'` {
		t.Errorf("%+v", since)
	}
	if since := look("--since", first, "--since", second); since.Dumps != 2 || len(since.Changes) != 2 {
		t.Errorf("%+v", since)
	}
	f.exits(10, append(locks, "--since", "latest"), "it holds none of the database app/1")
	f.exits(10, append(locks, "--since", "2001-01_000001"))
	f.exits(2, append(locks, "--since", first, "--watch", "1s"), "--since")

	if err := os.Rename(f.vol, f.vol+".away"); err != nil {
		t.Fatal(err)
	}
	if e := f.exits(0, locks, "is not known"); !strings.Contains(e.out, "nobody waits for a lock") {
		t.Error(e.out)
	}
	f.exits(4, append(locks, "--since", second), second, "is not here")
}
