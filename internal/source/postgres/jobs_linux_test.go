package postgres_test

import (
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Without a number, a server that is busy, or short of connections, is read by fewer
// sessions, and the receipt says why.
func TestJobsByLoad(t *testing.T) {
	t.Parallel()
	f := newField(t, 17, "max_connections = 14", "superuser_reserved_connections = 2")
	f.sql("app", recipe)
	o := f.options()
	o.Jobs = 0
	if _, s := f.dump(o); s.Receipt.Jobs != max(min(runtime.NumCPU(), 4), 1) || s.Receipt.JobsWhy != "" {
		t.Errorf("a server with nothing to do: %d, %q", s.Receipt.Jobs, s.Receipt.JobsWhy)
	}
	// Of fourteen, two are reserved: with six others, six are left, of which 3 + 3 are not for readers.
	f.Conn("app")
	f.Conn("app")
	var asleep sync.WaitGroup
	for range 4 {
		conn := f.Conn("app")
		asleep.Go(func() { _, _ = conn.Exec(t.Context(), "select pg_sleep(3600)") })
	}
	t.Cleanup(asleep.Wait) // before their connections are closed
	f.until("they sleep", func() bool {
		return f.Text("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == "4"
	})
	_, s := f.dump(o)
	if s.Receipt.Jobs != 1 || runtime.NumCPU() > 1 && !strings.Contains(s.Receipt.JobsWhy, "4 sessions are active at the server") {
		t.Errorf("%d, %q", s.Receipt.Jobs, s.Receipt.JobsWhy)
	}
	o.Jobs = 2 // what is asked for is done
	if _, s := f.dump(o); s.Receipt.Jobs != 2 || s.Receipt.JobsWhy != "" {
		t.Errorf("%d, %q", s.Receipt.Jobs, s.Receipt.JobsWhy)
	}
}
