package postgres_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/source/postgres"
)

// brake stops a dump in the middle of a table's data: the n-th data file takes nothing
// until Release, or fails if it is told to.
type brake struct {
	mu      sync.Mutex
	files   []string
	nth     int
	reached chan struct{}
	release chan struct{}
	err     error
}

func newBrake(nth int, err error) *brake {
	return &brake{nth: nth, reached: make(chan struct{}), release: make(chan struct{}), err: err}
}

// Before is asked before each operation.
func (b *brake) Before(op disk.Op, path string, _ int) error {
	if op != disk.OpWrite || !strings.HasSuffix(path, ".dat.zst") && !strings.HasSuffix(path, ".dat.gz") {
		return nil
	}
	b.mu.Lock()
	known := false
	for _, file := range b.files {
		known = known || file == path
	}
	if !known {
		b.files = append(b.files, path)
	}
	stop := !known && len(b.files) == b.nth
	b.mu.Unlock()
	if stop {
		close(b.reached)
		if b.err != nil {
			return b.err
		}
		<-b.release
	}
	return nil
}

// large makes a table whose data is more than all buffers between the server and the
// brake hold.
const large = `create table large (n int, t text); insert into large select n, repeat(md5(n::text), 64) from generate_series(1, 4000) n;`

type outcome struct {
	postgres.Summary
	error
}

// started starts a dump with a brake and waits until it is reached.
func (f *field) started(ctx context.Context, o postgres.Options, b *brake) (dir string, ended chan outcome) {
	f.t.Helper()
	dir = filepath.Join(f.t.TempDir(), "dump")
	env := f.env()
	env.Disk = disk.FS{Faults: b}
	ended = make(chan outcome, 1)
	go func() {
		summary, err := postgres.Dump(ctx, env, o, dir)
		ended <- outcome{summary, err}
	}()
	select {
	case <-b.reached:
	case o := <-ended:
		f.t.Fatalf("it ended before: %v", o.error)
	case <-time.After(patience):
		f.t.Fatal("the brake was not reached")
	}
	return dir, ended
}

// fails waits for the end of a dump that must fail, with an error that has the words,
// and leave nothing.
func (f *field) fails(dir string, ended chan outcome, words ...string) error {
	f.t.Helper()
	select {
	case o := <-ended:
		for _, want := range words {
			if o.error == nil || !strings.Contains(o.Error(), want) {
				f.t.Errorf("error %v lacks %q", o.error, want)
			}
		}
		if o.error == nil {
			f.t.Fatal("it did not fail")
		}
		f.empty(dir)
		select {
		case <-f.Exited(): // there is nobody to ask
		default:
			f.gone(dir)
		}
		return o.error
	case <-time.After(patience):
		f.t.Fatal("it did not end")
		return nil
	}
}

// A table is free as soon as it is read, in the order that was asked for, while the
// dump goes on with others; what is done to it then is not in the dump. Who waits for
// a table that is being read is in the receipt.
func TestTablesAreReleasedEarly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.sql("app", large+recipe)
		want := f.plain("app")
		o := f.options()
		o.Jobs, o.First = 1, []string{"public.z", "e"}
		b := newBrake(3, nil)
		dir, ended := f.started(t.Context(), o, b) // z and e are read, or e and z
		f.sql("app", "set lock_timeout = '60s'; truncate z; alter table e alter column n type bigint; drop table e")
		behind := f.behind("app", map[string]string{"large": "alter table large add column more int"})
		f.until("the wait to be long enough", func() bool {
			return f.value("app", "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '1 s'") == "1"
		})
		close(b.release)
		done := <-ended
		if done.error != nil {
			t.Fatal(done.error)
		}
		if err := <-behind; err != nil {
			t.Error(err)
		}
		if i := done.Receipt.Inflicted; i.Seconds < 0.5 || i.Table != "public.large" || !strings.Contains(i.Query, "alter table large") {
			t.Errorf("%+v", i)
		}
		held := map[string]float64{}
		for _, table := range done.Receipt.Tables {
			held[table.Table] = table.Held
		}
		if held["public.z"] >= held["public.large"] || held["public.e"] > held["public.a"] {
			t.Errorf("held: %v", held)
		}
		f.restore(dir, "copy", 2)
		same(t, "the copy", strings.ReplaceAll(f.plain("copy"), "copy", "app"), want)
	})
}

// A dump that is cancelled, wherever it is, leaves nothing on the disk and no session
// on the server.
func TestCancelled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.sql("app", large+recipe+"create sequence s;")
		cause := &capstan.Error{Class: capstan.ErrInterrupted, Op: "the test's own reason"}

		ctx, cancel := context.WithCancelCause(t.Context())
		b := newBrake(1, nil)
		dir, ended := f.started(ctx, f.options(), b)
		cancel(cause)
		close(b.release)
		if err := f.fails(dir, ended); !errors.Is(err, cause) {
			t.Error(err)
		}
		// While it waits for a table, and while pg_dump waits for a sequence.
		for _, lock := range []string{"lock table z in access exclusive mode", "drop sequence s"} {
			conn := f.Conn("app")
			if _, err := conn.Exec(t.Context(), "begin; "+lock); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			o := f.options()
			o.LockTimeout = patience
			dir := filepath.Join(t.TempDir(), "dump")
			ended := make(chan outcome, 1)
			go func() {
				summary, err := postgres.Dump(ctx, f.env(), o, dir)
				ended <- outcome{summary, err}
			}()
			f.until("the dump waits for "+lock, func() bool {
				return f.value("app", "select count(*) from pg_locks l join pg_stat_activity a using (pid) where not granted and application_name = 'capstan'") == "1"
			})
			begin := time.Now()
			cancel(cause)
			if err := f.fails(dir, ended); !errors.Is(err, cause) {
				t.Error(err)
			}
			t.Logf("all sessions had ended after %s", time.Since(begin))
			if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
				t.Error(err)
			}
			_ = conn.Close(t.Context())
		}
		f.dump(f.options()) // nothing is in the way of the next
	})
}

// Whatever ends a dump in the middle of a table is told by the table's name, and
// leaves nothing.
func TestBrokenInTheMiddle(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.sql("app", large)
		readers := "from pg_stat_activity where application_name = 'capstan' and query like '%COPY%large%'"
		o := f.options()
		o.Jobs = 1

		b := newBrake(1, nil)
		dir, ended := f.started(t.Context(), o, b)
		f.Exec("select pg_cancel_backend(pid) " + readers)
		close(b.release)
		_ = f.fails(dir, ended, "read table public.large", "canceling statement due to user request")

		b = newBrake(1, nil)
		dir, ended = f.started(t.Context(), o, b)
		f.Exec("select pg_terminate_backend(pid) " + readers)
		f.until("the session to end", func() bool { return f.Text("select count(*) "+readers) == "0" })
		close(b.release)
		_ = f.fails(dir, ended, "read table public.large", "connection")

		b = newBrake(1, &disk.ShortWrite{N: 7, Err: syscall.ENOSPC})
		dir, ended = f.started(t.Context(), o, b)
		if err := f.fails(dir, ended, "public.large"); !errors.Is(err, capstan.ErrNoSpace) {
			t.Errorf("a full disk: %v", err)
		}

		b = newBrake(1, nil)
		dir, ended = f.started(t.Context(), o, b)
		f.Crash()
		close(b.release)
		_ = f.fails(dir, ended, "connection")
	})
}

// A role that is no superuser dumps what it may read; a table that it may not read is
// named.
func TestRights(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.sql("app", recipe+"create role reader login; grant select on a, b, c, d, e to reader;")
		o := f.options()
		o.URL = strings.Replace(o.URL, "postgres@", "reader@", 1)
		dir := filepath.Join(t.TempDir(), "dump")
		_, err := postgres.Dump(t.Context(), f.env(), o, dir)
		if err == nil || !strings.Contains(err.Error(), "permission denied for table z") || !strings.Contains(err.Error(), "--exclude-table") {
			t.Errorf("%v", err)
		}
		f.gone(dir)
		o.ExcludeTables = []string{"public.z"}
		dir, _ = f.dump(o)
		f.restore(dir, "copy", 2)
		same(t, "what the role may read", strings.ReplaceAll(f.plain("copy"), "copy", "app"), f.plain("app", "-T", "z"))

		// Row security that would hide rows is an error, as it is to pg_dump.
		f.sql("app", "alter table a enable row level security")
		dir = filepath.Join(t.TempDir(), "dump")
		if _, err := postgres.Dump(t.Context(), f.env(), o, dir); err == nil || !strings.Contains(err.Error(), `row-level security policy for table "a"`) {
			t.Errorf("%v", err)
		}
		f.gone(dir)
	})
}

// A pg_dump that is not there, or older than the server, is named before anything is
// locked.
func TestUnfitPgDump(t *testing.T) {
	t.Parallel()
	f := newField(t, 17)
	f.sql("app", recipe)
	for path, words := range map[string][]string{
		filepath.Join(t.TempDir(), "pg_dump"): {"pg_dump", "no such file"},
		"/bin/true":                           {"/bin/true", "says no version"},
		pgtest.Client(t, 15, "pg_dump"):       {"pg_dump", "is version 15.", "older than the server, 17."},
	} {
		o := f.options()
		o.PgDump = path
		dir := filepath.Join(t.TempDir(), "dump")
		_, err := postgres.Dump(t.Context(), f.env(), o, dir)
		for _, want := range words {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v lacks %q", path, err, want)
			}
		}
		f.gone(dir)
	}
	// 18 dumps 17 as well.
	o := f.options()
	o.PgDump = pgtest.Client(t, 18, "pg_dump")
	f.dump(o)
}

// What pg_dump 18 would write of a server 15 with a newer minor release is refused.
func TestLeakedOption(t *testing.T) {
	t.Parallel()
	f := newField(t, 15)
	f.sql("app", recipe)
	if f.value("app", "select count(*) from pg_attribute where attoptions::text like '%pg_attver%'") == "0" {
		// Nothing leaks from this release: the dump of the newer program is as good.
		o := f.options()
		o.PgDump = pgtest.Client(t, 18, "pg_dump")
		f.dump(o)
		return
	}
	o := f.options()
	o.PgDump = pgtest.Client(t, 18, "pg_dump")
	dir := filepath.Join(t.TempDir(), "dump")
	_, err := postgres.Dump(t.Context(), f.env(), o, dir)
	if err == nil || !strings.Contains(err.Error(), "pg_attver") || !strings.Contains(err.Error(), "the server's own version") {
		t.Errorf("%v", err)
	}
	f.gone(dir)
}

// What lies at the dump's place, or beside it, is not touched.
func TestPlaceThatIsTaken(t *testing.T) {
	t.Parallel()
	f := newField(t, 15)
	f.sql("app", recipe)
	dir, _ := f.dump(f.options())
	if _, err := postgres.Dump(t.Context(), f.env(), f.options(), dir); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("over a dump: %v", err)
	}
	f.restore(dir, "copy", 1)

	b := newBrake(1, nil)
	dir, ended := f.started(t.Context(), f.options(), b)
	if _, err := postgres.Dump(t.Context(), f.env(), f.options(), dir); !errors.Is(err, capstan.ErrLocked) {
		t.Errorf("beside one that is under way: %v", err)
	}
	close(b.release)
	if o := <-ended; o.error != nil {
		t.Error(o.error)
	}
	f.restore(dir, "second", 1)

	dir = filepath.Join(t.TempDir(), "dump")
	if err := (disk.FS{}).MkdirAll(filepath.Join(dir+".part", "mine")); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Dump(t.Context(), f.env(), f.options(), dir); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("beside a foreign directory: %v", err)
	}
}
