package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/pgtest"
)

// pg locks names who waits behind whom, and what a dump would wait for; with --watch
// it tells when the wait begins and when it is over.
func TestPgLocks(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	url := s.URL("postgres")
	s.Exec("CREATE TABLE orders (a int)", "CREATE TABLE parts (a int)")
	if out := f.run("pg", "locks", url); !strings.Contains(out, "nobody waits for a lock\na dump would lock 2 tables, twice each; there is room for ") || strings.Contains(out, "orders") {
		t.Errorf("nobody waits:\n%s", out)
	}
	f.exits(2, []string{"pg", "locks", url, "--watch", "1ms"}, "at least 100ms")
	f.exits(2, []string{"pg", "locks", url, "--url", "postgres://elsewhere"}, "once")
	f.exits(1, []string{"pg", "locks", "postgres://127.0.0.1:1/nowhere"}, "127.0.0.1:1")

	watch := f.start("pg", "locks", url, "--watch", "200ms")
	watch.says("nobody waits for a lock")
	reader, ddl := s.Conn("postgres"), s.Conn("postgres")
	if _, err := reader.PgConn().Exec(t.Context(), "BEGIN; SELECT * FROM orders").ReadAll(); err != nil {
		t.Fatal(err)
	}
	altered := make(chan error, 1)
	go func() {
		_, err := ddl.Exec(context.WithoutCancel(t.Context()), "ALTER TABLE orders ADD COLUMN b int")
		altered <- err
	}()
	pgtest.Eventually(t, 2*time.Minute, func() (bool, string) {
		return s.Text("SELECT count(*) FROM pg_locks WHERE NOT granted") == "1", "the ALTER does not wait"
	})
	holder := reader.PgConn().PID()
	out := f.run("pg", "locks", url, "--tables")
	for _, want := range []string{"AccessExclusiveLock", "public.orders", fmt.Sprintf("SELECT pg_terminate_backend(%d)", holder), "it would wait for session", "public.parts"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	var report struct {
		Waits []struct {
			Object string
			Behind []struct{ PID uint32 }
		}
		Advice []struct{ PID uint32 }
		Dump   struct{ Slots int }
	}
	if err := json.Unmarshal([]byte(f.run("pg", "locks", "--url", url, "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Waits) != 1 || report.Waits[0].Object != "public.orders" || len(report.Waits[0].Behind) != 1 || report.Waits[0].Behind[0].PID != holder ||
		len(report.Advice) != 1 || report.Advice[0].PID != holder || report.Dump.Slots != 4 {
		t.Errorf("%+v", report)
	}
	watch.says("public.orders")
	if _, err := reader.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-altered; err != nil {
		t.Fatal(err)
	}
	until(t, "the watch to see that nobody waits any more", func() bool {
		_, after, found := strings.Cut(watch.out.String(), "public.orders")
		return !watch.running() || found && strings.Contains(after, "nobody waits")
	})
	watch.signal(unix.SIGINT)
	e := watch.end()
	before, after, found := strings.Cut(e.out, "public.orders")
	if e.code != 130 || !found || !strings.Contains(before, "nobody waits") || !strings.Contains(after, "nobody waits") {
		t.Errorf("the watch: exit %d\n%s%s", e.code, e.out, e.err)
	}
}
