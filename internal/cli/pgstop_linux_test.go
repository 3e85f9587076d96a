package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"capstan/internal/capstantest/pgtest"
)

// mute starts logical replication from a new slot and never answers.
func mute(t *testing.T, s *pgtest.Server) {
	t.Helper()
	s.Exec("create table t (n int)", "select pg_create_logical_replication_slot('mute', 'test_decoding')")
	conn, err := pgconn.Connect(t.Context(), s.DSN("postgres")+" replication=database application_name=sync")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Millisecond)
		defer cancel()
		_ = conn.Close(ctx)
	})
	conn.Frontend().Send(&pgproto3.Query{String: "START_REPLICATION SLOT mute LOGICAL 0/0"})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		message, err := conn.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := message.(*pgproto3.CopyBothResponse); ok {
			break
		}
	}
	s.Exec("insert into t select generate_series(1, 1000)")
}

// object reads the last line of a program's output.
func object(t *testing.T, e ended, into any) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(e.out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		t.Fatalf("%v in %q", err, e.out)
	}
}

// A maintenance window as it is typed: check, dry run, a stop that is interrupted,
// status, another stop, status, undo; with the audit log at its end.
func TestPgStopAsTyped(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15, Conf: []string{
		"wal_level = logical", "wal_sender_timeout = 0", "archive_mode = on", "archive_command = 'sleep 0.3'", "max_prepared_transactions = 1",
	}})
	s.Start()
	mute(t, s)
	s.Exec("create role sync superuser login", "create table b (n int)")
	for range 3 {
		s.Exec("insert into b values (1)", "select pg_switch_wal()")
	}
	conn := s.Conn("postgres")
	for _, statement := range []string{"begin", "insert into b values (2)", "prepare transaction 'p'"} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}

	var check struct {
		Connected bool
		Findings  []struct{ Level, What, Detail, Advice string }
		Senders   []struct{ Application, Slot string }
		Archive   struct {
			Ready int
		}
		Stop, Start struct{ Max *float64 }
	}
	pgtest.Eventually(t, time.Minute, func() (bool, string) {
		e := f.exits(0, []string{"pg", "stop-check", "-D", s.Data, "--json"})
		object(t, e, &check)
		whats := map[string]string{}
		for _, finding := range check.Findings {
			whats[finding.What] = finding.Level
		}
		return check.Connected && len(check.Senders) == 1 && check.Senders[0].Application == "sync" && check.Senders[0].Slot == "mute" &&
			whats["walsender"] == "blocks" && whats["wal_sender_timeout"] == "blocks" && whats["prepared transactions"] == "notes" &&
			check.Stop.Max == nil && check.Start.Max != nil, e.out
	})
	if e := f.exits(0, []string{"pg", "stop-check", "-D", s.Data}); !strings.Contains(e.out, "blocks") || !strings.Contains(e.out, "stop: at least") {
		t.Errorf("%s", e.out)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "home", "catalog.db")); err == nil {
		t.Error("a command that only looks has made a catalog")
	}

	stop := []string{"pg", "stop", "-D", s.Data, "--lock-role", "sync"}
	if e := f.exits(0, append(stop, "--dry-run")); !strings.Contains(e.out, "NOLOGIN") || s.Text("select rolcanlogin from pg_roles where rolname = 'sync'") != "t" {
		t.Errorf("%s", e.out)
	}
	p := f.start(append(stop, "--json")...)
	until(t, "the stop to wait", func() bool {
		var status struct{ Phase string }
		object(t, f.try("pg", "stop-status", "-D", s.Data, "--json"), &status)
		return status.Phase == "walsender" || !p.running()
	})
	f.exits(11, append(stop, "--walsender=cut"), "another capstan works on this cluster")
	p.signal(syscall.SIGINT)
	var summary struct {
		Type, Status string
		Pending      []struct{ Kind, Object string }
		Phases       []struct{ Phase string }
	}
	e := p.end()
	object(t, e, &summary)
	if e.code != 130 || summary.Type != "summary" || summary.Status != "stopping" || len(summary.Pending) != 1 || summary.Pending[0].Object != "sync" {
		t.Errorf("exit %d, %+v, %s", e.code, summary, e.err)
	}
	if e := f.exits(0, []string{"pg", "stop-status", "-D", s.Data}); !strings.Contains(e.out, "--walsender=terminate") || !strings.Contains(e.out, "role sync may not log in") {
		t.Errorf("%s", e.out)
	}
	f.exits(1, append(stop, "--timeout", "1ns"), "not begun within 1ns", "the server was not told to stop")
	for limit := 300 * time.Millisecond; ; limit *= 4 { // on a busy machine it may not even have begun by then
		within := append(stop, "--timeout", limit.String())
		if e := f.try(within...); limit > verdict || !strings.Contains(e.err, "not begun within") {
			f.check(e, 1, within, "not stopped within "+limit.String(), "walsender", "--walsender=terminate")
			break
		}
	}
	if e := f.exits(0, append(stop, "--walsender=terminate", "--archiver=abort-command")); !strings.Contains(e.out, "is stopped (shut down)") {
		t.Errorf("%s", e.out)
	}
	if e := f.exits(0, []string{"pg", "stop-status", "-D", s.Data}); !strings.Contains(e.out, "phase     stopped") {
		t.Errorf("%s", e.out)
	}
	f.exits(3, []string{"pg", "stop", "-D", s.Data, "--undo"}, "its server does not run", "stays in the journal", "1 setting left changed")
	s.Start()
	f.exits(0, []string{"pg", "stop", "-D", s.Data, "--undo"})
	if s.Text("select rolcanlogin from pg_roles where rolname = 'sync'") != "t" || s.Text("select count(*) from pg_prepared_xacts") != "1" {
		t.Error("the role or the prepared transaction is not what it was")
	}
	export := f.exits(0, []string{"catalog", "export"}).out
	for _, want := range []string{"role sync set NOLOGIN", "fast stop: SIGINT", "SIGTERM to walsender", "put back: role sync"} {
		if !strings.Contains(export, want) {
			t.Errorf("the audit log has no %q", want)
		}
	}
	s.Crash()
	if e := f.exits(0, []string{"pg", "stop-status", "-D", s.Data}); !strings.Contains(e.out, "phase     killed") || !strings.Contains(e.out, "its process is gone, it said ready") {
		t.Errorf("%s", e.out)
	}
}

// Refusals: exit 4, one line, nothing touched.
func TestPgStopRefusals(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s, other := pgtest.New(t, pgtest.Options{Memory: true, Major: 18}), pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	f.exits(2, []string{"pg", "stop"}, "-D")
	f.exits(2, []string{"pg", "stop", "-D", f.dir}, "PG_VERSION")
	f.exits(2, []string{"pg", "stop", "-D", s.Data, "--walsender=kill"}, "wait, terminate or cut")
	f.exits(2, []string{"pg", "stop", "-D", s.Data, "--archiver=kill"}, "finish-current")
	refused := func(words string, args ...string) {
		t.Helper()
		e := f.exits(4, append([]string{"pg", "stop", "-D", s.Data}, args...), words)
		if lines := strings.Count(strings.TrimSpace(e.err), "\n"); lines != 0 {
			t.Errorf("%d lines: %s", lines+1, e.err)
		}
	}
	foreign := fmt.Sprintf("%d\n%s\n%d\n5432\n/tmp\n\n1 1\nready   \n", os.Getpid(), s.Data, time.Now().Unix())
	if err := os.WriteFile(filepath.Join(s.Data, "postmaster.pid"), []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("does not work in this directory")
	if e := f.exits(0, []string{"pg", "stop-status", "-D", s.Data}); !strings.Contains(e.out, "not of this server, it said ready") {
		t.Errorf("%s", e.out)
	}
	if content, err := os.ReadFile(filepath.Join(s.Data, "postmaster.pid")); err != nil || string(content) != foreign {
		t.Errorf("the pid file was touched: %q, %v", content, err)
	}
	if err := os.WriteFile(filepath.Join(s.Data, "postmaster.pid"), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("no process id")
	if err := os.Remove(filepath.Join(s.Data, "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	s.Start()
	other.Start()
	refused("another cluster", "--url", other.URL("postgres"))
	refused("could not put it back", "--lock-role", "postgres")
	if s.Text("select 1") != "1" || s.Text("select rolcanlogin from pg_roles where rolname = 'postgres'") != "t" {
		t.Error("the server was touched")
	}
	f.exits(0, []string{"pg", "stop", "-D", s.Data})
	s.WaitExit()
	f.exits(0, []string{"pg", "stop", "-D", s.Data}) // it is stopped already
	other.Crash()
	f.exits(1, []string{"pg", "stop", "-D", other.Data}, "recover")
}

// A damaged catalog does not keep a server from being stopped and started: that is said, and what was changed is put back by the journal.
func TestPgStopWithoutCatalog(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 17})
	s.Start()
	s.Exec("create role sync login")
	home := filepath.Join(f.dir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	damaged := []byte(strings.Repeat("no catalog ", 1000))
	if err := os.WriteFile(filepath.Join(home, "catalog.db"), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	without := "going on without the catalog, no audit line is written"
	f.exits(4, []string{"pg", "stop", "-D", s.Data, "--lock-role", "postgres"}, without, "could not put it back")
	f.exits(1, []string{"pg", "spill", "purge", "-D", s.Data}, "catalog") // this can wait
	e := f.exits(0, []string{"pg", "stop", "-D", s.Data, "--lock-role", "sync", "--json"}, without)
	var summary struct {
		Status  string
		Pending []struct{ Object string }
	}
	object(t, e, &summary)
	if summary.Status != "stopped" || len(summary.Pending) != 1 || summary.Pending[0].Object != "sync" {
		t.Errorf("%+v", summary)
	}
	s.WaitExit()
	f.exits(0, []string{"pg", "start", "-D", s.Data, "--bindir", s.Bin}, without)
	if s.Text("select rolcanlogin from pg_roles where rolname = 'sync'") != "t" {
		t.Error("the role may not log in")
	}
	if now, err := os.ReadFile(filepath.Join(home, "catalog.db")); err != nil || string(now) != string(damaged) {
		t.Errorf("the catalog was touched: %v", err)
	}
}

// The user who owns the data directory can do it all too; another user is told whom
// to ask.
func TestPgStopAsOwner(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15, Conf: []string{"wal_level = logical", "wal_sender_timeout = 0"}})
	s.Start()
	mute(t, s)
	dir := t.TempDir()
	open := func(path string) {
		t.Helper()
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	open(filepath.Dir(dir))
	open(dir)
	// The program, where these users may read it.
	self, err := exec.LookPath("capstan")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "capstan")
	if out, err := exec.CommandContext(t.Context(), "cp", "-L", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(as *syscall.Credential, code int, words string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, "pg", "stop", "-D", s.Data, "--walsender=cut")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CAPSTAN_HOME="+filepath.Join(dir, fmt.Sprint("home", code)))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code || !strings.Contains(string(out), words) {
			t.Errorf("%v, want exit %d and %q: %s", err, code, words, out)
		}
	}
	if os.Geteuid() == 0 {
		run(&syscall.Credential{Uid: 65534, Gid: 65534}, 4, "run this as its owner or as root")
	}
	f.exits(0, []string{"pg", "stop-status", "-D", s.Data})
	run(pgtest.Credential(t), 0, "is stopped (shut down)")
}
