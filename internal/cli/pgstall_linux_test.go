package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// A restore that stands behind somebody's lock says so, with the table, who has it, since
// when, what is safe and what to do; it goes on when it is let, and ends by --stall-fail,
// --timeout or a signal, with nothing of it left at the server.
func TestPgRestoreStalls(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("CREATE TABLE orders (id int PRIMARY KEY)", "INSERT INTO orders VALUES (1), (2)")
	dir := filepath.Join(f.dir, "dump")
	if out, err := exec.CommandContext(t.Context(), pgtest.Client(t, 15, "pg_dump"), "-Fd", "-f", dir, s.URL("postgres")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.Exec("INSERT INTO orders VALUES (3)")
	reader := s.Conn("postgres")
	hold := func() string {
		t.Helper()
		if _, err := reader.Exec(t.Context(), "BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE"); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("session %d", reader.PgConn().PID())
	}
	release := func() {
		t.Helper()
		if _, err := reader.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	}
	nobody := func() (bool, string) {
		left := s.Text("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'capstan%'")
		return left == "0", left + " sessions of the restore are left"
	}
	restore := func(flags ...string) []string {
		return append([]string{"pg", "restore", dir, "--to", s.URL("postgres"), "--clean"}, flags...)
	}
	says := func(who string) []string {
		return []string{"stage restore has been waiting for lock", "table or index public.orders", ", since ", "behind " + who, "at CONSTRAINT orders orders_pkey", "what was restored before is there", "capstan pg locks 'postgres://"}
	}
	untouched := func() {
		t.Helper()
		pgtest.Eventually(t, verdict, nobody)
		if n := s.Text("SELECT count(*) FROM orders"); n != "3" {
			t.Errorf("%s rows are there", n)
		}
		release()
	}

	for _, jobs := range []string{"1", "2"} {
		who := hold()
		f.exits(1, restore("--stall-warn", "0", "--stall-fail", "1s", "--jobs", jobs), says(who)...)
		untouched()
	}
	hold()
	f.exits(1, restore("--timeout", "1s"), "it is not through after 1s", "what was restored before is there")
	untouched()

	hold()
	p := f.start(restore()...)
	pgtest.Eventually(t, verdict, func() (bool, string) {
		return s.Text("SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND application_name LIKE 'capstan%'") == "1", "the restore waits"
	})
	p.signal(syscall.SIGINT)
	f.check(p.end(), 130, p.args)
	untouched()

	who := hold()
	log := filepath.Join(f.dir, "log")
	p = f.start(restore("--stall-warn", "1s", "--stall-fail", "0", "--log-file", log)...)
	until(t, "a warning", func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text), "waiting for lock") || !p.running()
	})
	release()
	f.check(p.end(), 0, p.args, says(who)...)
	if n := s.Text("SELECT count(*) FROM orders"); n != "2" {
		t.Errorf("%s rows are there", n)
	}
	f.exits(2, restore("--timeout", "-1s"), "--timeout")
	f.exits(2, restore("--stall-fail", "-1s"), "--stall-fail")
}
