package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// Of an encrypted set with several databases each is drilled, with the roles of the
// set's globals. Before, and after only some were, nothing passes for proven; what is
// wrong with one does not keep the others from their turn.
func TestPgDrillSeveral(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("create role owner login password 'hidden'", "create database app owner owner", "create database bad")
	for database, sql := range map[string]string{
		"app": "create table t (n int); insert into t select generate_series(1, 1000); alter table t owner to owner",
		// A check that an older row does not pass.
		"bad": `create table t (n int); insert into t values (1), (2); create function fine(n int) returns bool language sql immutable as 'select true';
			alter table t add check (fine(n)); create or replace function fine(n int) returns bool language sql immutable as 'select n > 1'`,
	} {
		if _, err := s.Conn(database).PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	key, scratch := filepath.Join(f.dir, "key"), scratchDir(t)
	recipient := strings.TrimSpace(f.exits(0, []string{"key", "new", key}).out)
	f.exits(0, []string{"backup", s.URL("postgres"), "--all-databases", "--to", f.vol, "--encrypt-to", recipient, "--pg-dump", pgtest.Client(t, 15, "pg_dump")})
	drill := func(args ...string) []string {
		return append([]string{"pg", "drill", "latest", "--scratch", scratch, "--set", "shared_buffers=16MB"}, args...)
	}
	status := func(want string, never bool) {
		t.Helper()
		if out := f.run("sets"); !strings.Contains(out, "complete, "+want+" ") {
			t.Errorf("not %q: %s", want, out)
		}
		var set struct {
			Never bool   `json:"never_proven"`
			Last  string `json:"last_proven"`
		}
		if err := json.Unmarshal([]byte(f.run("sets", "--json")), &set); err != nil || set.Never != never || (set.Last == "") != never {
			t.Errorf("%+v %v", set, err)
		}
		if out := f.try("doctor").out; strings.Contains(out, "was never proven restorable") != never || never && !strings.Contains(out, "capstan pg drill "+f.onlySet().Set) {
			t.Errorf("%s", out)
		}
	}
	status("never proven", true)
	f.exits(12, drill())
	status("never proven", true)
	if e := f.exits(0, drill("--identity", key, "--database", "app")); !strings.Contains(e.out, "app: proven") || !strings.Contains(e.out, "owners of 1 object compared") || !strings.Contains(e.out, "roles as the dumped server had them") {
		t.Error(e.out)
	}
	status("proven in part", true)
	var report struct {
		Run    int
		Status string
		Tables int
		Drills []struct {
			Dump, Status, Roles string
			Differences         []struct{ Object string }
		}
		Differences []struct{ Object string }
		Problems    []struct{ Object string }
	}
	object(t, f.exits(3, drill("--identity", key, "--json")), &report)
	var outcomes []string
	for _, one := range report.Drills {
		outcomes = append(outcomes, one.Dump[strings.LastIndex(one.Dump, "/")+1:]+" "+one.Status+" "+one.Roles)
	}
	if strings.Join(outcomes, ", ") != "app proven globals, bad differs globals, postgres proven globals" || report.Status != "differs" || report.Tables != 1 ||
		len(report.Differences) != 1 || !strings.HasSuffix(report.Differences[0].Object, "bad: table public.t") || len(report.Problems) != 1 {
		t.Errorf("%q %+v", outcomes, report)
	}
	status("drill differs", true)
	if out := f.run("show", "latest"); !strings.Contains(out, "/app: proven restorable") || !strings.Contains(out, "/bad: differed ") || !strings.Contains(out, "/postgres: proven restorable") {
		t.Error(out)
	}
	if runs := f.drillRuns(); len(runs) != 4 || runs[1].Status != "failed" || runs[2].Status != "complete" || runs[3].Status != "partial" {
		t.Errorf("%+v", runs)
	}
	f.nothingOf(scratch)

	// Of a later set, with a passphrase: the one before is not forgotten by the doctor.
	words := filepath.Join(f.dir, "words")
	if err := os.WriteFile(words, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	single := func() {
		t.Helper()
		f.exits(0, []string{"backup", s.URL("app"), "--to", f.vol, "--encrypt-to", "passphrase", "--passphrase-file", words, "--globals", "--pg-dump", pgtest.Client(t, 15, "pg_dump")})
	}
	single()
	f.exits(0, drill("--passphrase-file", words))
	single()
	sets := f.sets()
	if e := f.try("doctor"); !strings.Contains(e.out, "set "+sets[2].Set+", the newest of job") || !strings.Contains(e.out, "set "+sets[1].Set+" last was") {
		t.Error(e.out)
	}
	f.nothingOf(scratch)
}
