package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/internal/capstantest/pgtest"
)

// A dump as it is typed: it appears whole, says what it did to locks, and is restored
// by the stock pg_restore; refusals have their exit codes.
func TestPgDumpAsTyped(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	s.Start()
	s.Exec("create table t (n int primary key, o text)", "insert into t select n, 'row ' || n from generate_series(1, 1000) n", "create database copy",
		"create table noise (n int)", "insert into noise values (1)", "select lo_from_bytea(0, 'large')")
	dir := filepath.Join(t.TempDir(), "dumps", "app")
	dump := []string{"pg", "dump", s.URL("postgres"), "-o", dir}

	var summary struct {
		Type, Status, Dir string
		Tables            int
		Rows              int64
		BytesIn           int64 `json:"bytes_in"`
		Receipt           struct {
			Server string
			PgDump string `json:"pg_dump"`
			Tables []struct {
				Table string
				Rows  int64
			}
			Objects struct{ Count int } `json:"large_objects"`
		}
	}
	object(t, f.exits(0, append(dump, "--json", "--exclude-table-data", "noise", "--first", "t", "--jobs", "1")), &summary)
	if summary.Type != "summary" || summary.Status != "complete" || summary.Dir != dir || summary.Tables != 1 || summary.Rows != 1000 || summary.BytesIn == 0 ||
		!strings.HasPrefix(summary.Receipt.Server, "15.") || summary.Receipt.Objects.Count != 1 || len(summary.Receipt.Tables) != 2 {
		t.Errorf("%+v", summary)
	}
	receipt, err := os.ReadFile(filepath.Join(dir, "capstan-receipt.json"))
	if err != nil || !json.Valid(receipt) {
		t.Errorf("receipt %s, %v", receipt, err)
	}
	if out, err := exec.CommandContext(t.Context(), pgtest.Client(t, 15, "pg_restore"), "--exit-on-error", "-j2", "-d", s.URL("copy"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conn := s.Conn("copy")
	var n, noise int
	if err := conn.QueryRow(t.Context(), "select (select count(*) from t), (select count(*) from noise)").Scan(&n, &noise); err != nil || n != 1000 || noise != 0 {
		t.Errorf("%d and %d rows, %v", n, noise, err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "home")); err == nil {
		t.Error("a dump has made a home")
	}

	f.exits(4, dump, "is there already")
	other := filepath.Join(t.TempDir(), "other")
	f.exits(2, []string{"pg", "dump", s.URL("postgres")}, "-o DIR")
	f.exits(2, []string{"pg", "dump", "-o", other})
	f.exits(2, append(dump, "--compress", "lzma"), "lzma")
	f.exits(2, append(dump, "--jobs", "1000"), "--jobs")
	f.exits(1, []string{"pg", "dump", s.URL("nowhere"), "-o", other}, `database "nowhere" does not exist`)
	f.exits(1, []string{"pg", "dump", s.URL("postgres"), "-o", other, "--pg-dump", "/nowhere/pg_dump"}, "/nowhere/pg_dump")
	if e := f.exits(0, []string{"pg", "dump", s.URL("postgres"), "-o", other, "--compress", "none"}); !strings.Contains(e.out, "2 tables of postgres") {
		t.Errorf("%s", e.out)
	}
	if e := f.exits(0, []string{"pg", "dump", "--help"}); !strings.Contains(e.out, "Exit codes") || !strings.Contains(e.out, "pg_restore --create") {
		t.Errorf("%s", e.out)
	}
}

// A dump that is interrupted leaves nothing; one that is killed leaves what the next
// one removes. Nothing stays locked.
func TestPgDumpInterrupted(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	s.Start()
	s.Exec("create table t (n int)", "create table u (n int)")
	conn := s.Conn("postgres")
	if _, err := conn.Exec(t.Context(), "begin; lock table u in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dump")
	dump := []string{"pg", "dump", s.URL("postgres"), "-o", dir, "--lock-timeout", "10m"}
	waits := func() (bool, string) {
		return s.Text("select count(*) from pg_locks join pg_stat_activity using (pid) where not granted and application_name = 'capstan'") == "1", "the dump waits"
	}
	over := func() (bool, string) {
		return s.Text("select count(*) from pg_stat_activity where application_name = 'capstan'") == "0", "its sessions end"
	}

	p := f.start(dump...)
	pgtest.Eventually(t, verdict, waits)
	f.exits(11, dump, "another dump is being written there")
	p.signal(syscall.SIGINT)
	if e := p.end(); e.code != 130 || !strings.Contains(e.err, "nothing is left of it") {
		t.Errorf("exit %d: %s", e.code, e.err)
	}
	pgtest.Eventually(t, time.Minute, over)
	for _, path := range []string{dir, dir + ".part"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}

	p = f.start(dump...)
	pgtest.Eventually(t, verdict, waits)
	p.signal(syscall.SIGKILL)
	p.end()
	if _, err := os.Stat(dir); err == nil {
		t.Error("half a dump is there")
	}
	pgtest.Eventually(t, verdict, over) // though the table is not free, and the lock timeout long
	if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	f.exits(0, dump)
	if _, err := os.Stat(dir + ".part"); err == nil {
		t.Error("what was killed is left")
	}
}
