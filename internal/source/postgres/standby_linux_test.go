package postgres_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/source/postgres"
)

// newStandby is a primary with a database, and a standby that follows it and gives a
// session that is in the way of its replay no time at all.
func newStandby(t *testing.T, major int) (primary, standby *field) {
	t.Helper()
	primary = newField(t, major, "max_wal_senders = 5", "wal_keep_size = 256MB")
	standby = &field{t: t, Server: pgtest.NewStandby(primary.Server, pgtest.Options{Major: major, Memory: true, Conf: []string{"max_standby_streaming_delay = 0"}})}
	primary.sql("app", large+recipe)
	standby.Follow(primary.Server)
	return primary, standby
}

// paused is how the replay of a standby stands.
func (f *field) paused() string { return f.Text("select pg_get_wal_replay_pause_state()") }

const rewrites = "truncate large; alter table z alter column n type bigint; drop table e; truncate a"

// A standby is dumped while its primary changes tables: without a pause the replay
// breaks the dump, which says so; with it the dump holds what was there, and the replay
// goes on when it has ended.
func TestStandby(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		primary, standby := newStandby(t, major)
		want := standby.plain("app")
		o := standby.options()
		o.Jobs = 1
		dir, s := standby.dump(o) // nothing is in the way
		if !s.Receipt.Standby || s.Receipt.PausedSeconds != 0 {
			t.Errorf("%+v", s.Receipt)
		}
		primary.restore(dir, "quiet", 2)
		same(t, "the copy", strings.ReplaceAll(primary.plain("quiet"), "quiet", "app"), want)

		o.PauseReplay = true
		b := newBrake(1, nil)
		dir, ended := standby.started(t.Context(), o, b)
		if state := standby.paused(); state != "paused" {
			t.Errorf("the replay is %s", state)
		}
		// A second one would let the replay go on too early, in whatever database.
		second := o
		second.URL = standby.URL("postgres")
		if _, err := postgres.Dump(t.Context(), standby.env(), second, filepath.Join(t.TempDir(), "second")); !errors.Is(err, capstan.ErrLocked) {
			t.Errorf("a second dump: %v", err)
		}
		primary.sql("app", rewrites)
		close(b.release)
		done := <-ended
		if done.error != nil {
			t.Fatal(done.error)
		}
		if done.Receipt.PausedSeconds <= 0 {
			t.Errorf("%+v", done.Receipt)
		}
		primary.restore(dir, "copy", 2)
		same(t, "the copy", strings.ReplaceAll(primary.plain("copy"), "copy", "app"), want)
		standby.Follow(primary.Server)
		if state := standby.paused(); state != "not paused" {
			t.Errorf("afterwards the replay is %s", state)
		}
		if n := standby.value("app", "select count(*) from large"); n != "0" {
			t.Errorf("%s rows after the truncation", n)
		}

		// Without it, what is replayed ends the dump.
		primary.sql("app", "insert into large select n, repeat(md5(n::text), 64) from generate_series(1, 4000) n")
		standby.Follow(primary.Server)
		o.PauseReplay = false
		b = newBrake(1, nil)
		o.First = []string{"large"}
		dir, ended = standby.started(t.Context(), o, b)
		// The session that has everything locked at the beginning is not to be the one that is ended.
		standby.until("one session to have the table", func() bool {
			return standby.value("app", "select count(*) from pg_locks where relation = 'large'::regclass and granted and mode = 'AccessShareLock' and pid <> pg_backend_pid()") == "1"
		})
		primary.sql("app", "truncate large")
		// A session that waits for its client is ended at once before 16, later when it goes on.
		standby.until("the replay to be in conflict", func() bool {
			return standby.Text("select (select count(*) from pg_locks where not granted) + (select sum(confl_lock) from pg_stat_database_conflicts) > 0") == "t"
		})
		close(b.release)
		_ = standby.fails(dir, ended, "conflict with recovery", "--pause-replay", "public.large")
	})
}

// However a dump with a pause ends, the replay goes on: cancelled, broken, its sessions
// ended one by one, the keeper of the pause among them.
func TestPauseAlwaysEnds(t *testing.T) {
	t.Parallel()
	_, standby := newStandby(t, 17)
	o := standby.options()
	o.PauseReplay = true
	o.Jobs, o.First = 1, []string{"large"} // so that it is the one at the brake
	goesOn := func() {
		t.Helper()
		standby.until("the replay to go on", func() bool { return standby.paused() == "not paused" })
	}
	cause := &capstan.Error{Class: capstan.ErrInterrupted, Op: "the test's own reason"}
	ctx, cancel := context.WithCancelCause(t.Context())
	b := newBrake(1, nil)
	dir, ended := standby.started(ctx, o, b)
	cancel(cause)
	close(b.release)
	if err := standby.fails(dir, ended); !errors.Is(err, cause) {
		t.Error(err)
	}
	goesOn()

	// Readers, the holder, the keeper.
	for _, who := range []string{"query like '%COPY%'", "query like '%NOT pg_is_in_recovery()%'", "query like '%waited%'"} {
		b = newBrake(1, nil)
		dir, ended = standby.started(t.Context(), o, b)
		if n := standby.Text("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'capstan' and " + who); n == "0" {
			t.Errorf("nobody is %s", who)
		}
		if strings.Contains(who, "NOT") {
			goesOn() // at once, since nobody would end it now
		}
		close(b.release)
		if o := <-ended; o.error != nil && !strings.Contains(who, "COPY") {
			t.Errorf("%s: %v", who, o.error)
		}
		goesOn()
		standby.until("all sessions to end", func() bool { return standby.sessions() == "0" })
		_ = dir
	}

	// What somebody else has paused is left so.
	standby.Exec("select pg_wal_replay_pause()")
	standby.until("the pause", func() bool { return standby.paused() == "paused" })
	standby.dump(o)
	if state := standby.paused(); state != "paused" || !standby.heard("paused already") {
		t.Errorf("a pause that was not ours is %s", state)
	}
	standby.Exec("select pg_wal_replay_resume()")
}

// A standby that is promoted in the middle of a dump is dumped to the end, as it was.
func TestPromoted(t *testing.T) {
	t.Parallel()
	_, standby := newStandby(t, 18)
	want := standby.plain("app")
	for _, pause := range []bool{true} {
		o := standby.options()
		o.PauseReplay = pause
		b := newBrake(1, nil)
		dir, ended := standby.started(t.Context(), o, b)
		standby.Exec("select pg_promote(false)")
		standby.until("the promotion", func() bool { return standby.Text("select pg_is_in_recovery()") == "f" })
		standby.sql("app", "insert into a values (0, 'later')")
		close(b.release)
		if done := <-ended; done.error != nil {
			t.Fatal(done.error)
		}
		if len(standby.said) > 0 && standby.heard("may still be paused") {
			t.Error(standby.said)
		}
		standby.restore(dir, "copy", 2)
		same(t, "the copy", strings.ReplaceAll(standby.plain("copy"), "copy", "app"), want)
	}
}

// Who may not pause, and what cannot be paused, is said before anything is done; a
// grant is enough.
func TestPauseRights(t *testing.T) {
	t.Parallel()
	primary, standby := newStandby(t, 15)
	primary.sql("app", "create role reader login; grant pg_read_all_data to reader")
	standby.Follow(primary.Server)
	o := standby.options()
	o.PauseReplay = true
	o.URL = strings.Replace(o.URL, "postgres@", "reader@", 1)
	dir := filepath.Join(t.TempDir(), "dump")
	for _, test := range []struct {
		f    *field
		url  string
		word string
	}{
		{standby, o.URL, "GRANT EXECUTE ON FUNCTION pg_wal_replay_pause()"},
		{primary, primary.URL("app"), "not a standby"},
	} {
		bad := o
		bad.URL = test.url
		if _, err := postgres.Dump(t.Context(), test.f.env(), bad, dir); !errors.Is(err, capstan.ErrUsage) || !strings.Contains(err.Error(), test.word) {
			t.Errorf("%v", err)
		}
		test.f.gone(dir)
	}
	primary.sql("app", "grant execute on function pg_wal_replay_pause(), pg_wal_replay_resume() to reader")
	standby.Follow(primary.Server)
	standby.dump(o)
	old := newField(t, 13)
	bad := old.options()
	bad.PauseReplay = true
	if _, err := postgres.Dump(t.Context(), old.env(), bad, dir); !errors.Is(err, capstan.ErrUsage) {
		t.Errorf("%v", err)
	}
}

// While the replay itself waits for a table that the dump has locked, the dump lets go,
// and tries again, until both have had their turn.
func TestReplayInTheWay(t *testing.T) {
	t.Parallel()
	primary, standby := newStandby(t, 17)
	// A statement on the primary has locked z, and the standby has that lock too.
	g := primary.locked("app", "z")
	primary.Exec("select pg_log_standby_snapshot()") // and all before it reaches the standby
	standby.until("the lock to be replayed", func() bool {
		primary.Exec("select pg_log_standby_snapshot()")
		return standby.value("app", "select count(*) from pg_locks where relation = 'z'::regclass and mode = 'AccessExclusiveLock'") == "1"
	})
	o := standby.options()
	o.PauseReplay, o.LockTimeout = true, 100*time.Millisecond
	dir := filepath.Join(t.TempDir(), "dump")
	ended := make(chan error, 1)
	go func() {
		_, err := postgres.Dump(t.Context(), standby.env(), o, dir)
		ended <- err
	}()
	standby.until("the replay is named", func() bool { return standby.heard("user startup") })
	if standby.paused() != "not paused" {
		t.Error("the replay is paused while it is waited for")
	}
	if _, err := g.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if state := standby.paused(); state != "not paused" {
		t.Error(state)
	}
}
