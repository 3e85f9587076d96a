package postgres_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/source/postgres"
)

// waiting is how many sessions wait for a lock of a kind on a table of the database.
func (f *field) waiting(database, table, mode string) int {
	f.t.Helper()
	conn := f.Conn(database)
	defer conn.Close(context.Background())
	var n int
	if err := conn.QueryRow(f.t.Context(), "select count(*) from pg_locks where not granted and relation = to_regclass($1) and mode = $2", table, mode).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// until waits for a condition on the server.
func (f *field) until(what string, done func() bool) {
	f.t.Helper()
	pgtest.Eventually(f.t, patience, func() (bool, string) { return done(), what })
}

// locked opens a transaction that has locked a table in the strongest mode.
func (f *field) locked(database, table string) *pgx.Conn {
	f.t.Helper()
	conn := f.Conn(database)
	if _, err := conn.Exec(f.t.Context(), "begin; lock table "+table+" in access exclusive mode"); err != nil {
		f.t.Fatal(err)
	}
	return conn
}

// behind begins statements that wait behind the dump, each in a session of its own,
// and gives a channel on which each tells its end.
func (f *field) behind(database string, statements map[string]string) chan error {
	f.t.Helper()
	ended := make(chan error, len(statements))
	for table, statement := range statements {
		conn := f.Conn(database)
		go func() {
			_, err := conn.Exec(f.t.Context(), statement)
			if err != nil {
				err = fmt.Errorf("%s: %w", statement, err)
			}
			ended <- err
		}()
		f.until(statement+" waits", func() bool { return f.waiting(database, table, "AccessExclusiveLock") == 1 })
	}
	return ended
}

// ddl are statements that queue up while the dump has locked a to d and waits for z.
func ddl() map[string]string {
	return map[string]string{
		"a": "truncate a",
		"b": "alter table b alter column n type bigint",
		"c": "drop table c",
		"d": "vacuum full d",
	}
}

const recipe = `create table a (n int, t text); create table b (n int, t text); create table c (n int, t text); create table d (n int, t text);
	create table e (n int, t text); create table z (n int, t text);
	insert into a select n, 'a' || n from generate_series(1, 1000) n; insert into b select n, 'b' || n from generate_series(1, 1000) n;
	insert into c select n, 'c' || n from generate_series(1, 1000) n; insert into d select n, 'd' || n from generate_series(1, 1000) n;
	insert into e select n, 'e' || n from generate_series(1, 1000) n; insert into z select n, 'z' || n from generate_series(1, 1000) n;`

// Statements queue up between the locks of the leader and those of the workers. The
// stock pg_dump takes its workers' locks with NOWAIT, and fails; ours succeeds, and
// holds exactly what was there before.
func TestStatementsInTheGap(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.sql("app", recipe)
		f.Exec("create database stock template app")
		want := f.plain("app")

		// Stock.
		g := f.locked("stock", "z")
		dumped := make(chan string, 1)
		go func() {
			out, err := f.try("pg_dump", "-Fd", "-j2", "-f", filepath.Join(t.TempDir(), "stock"), f.URL("stock"))
			dumped <- fmt.Sprint(err, out)
		}()
		f.until("the stock pg_dump waits", func() bool { return f.waiting("stock", "z", "AccessShareLock") == 1 })
		ended := f.behind("stock", ddl())
		if _, err := g.Exec(t.Context(), "rollback"); err != nil {
			t.Fatal(err)
		}
		if out := <-dumped; !strings.Contains(out, "could not obtain lock on relation") {
			t.Errorf("the stock pg_dump: %s", out)
		}
		for range ddl() {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}

		// Ours, with a time for each lock that lets the statements queue up.
		g = f.locked("app", "z")
		o := f.options()
		o.LockTimeout = patience
		dir := filepath.Join(t.TempDir(), "dump")
		type outcome struct {
			postgres.Summary
			error
		}
		ours := make(chan outcome, 1)
		go func() {
			summary, err := postgres.Dump(t.Context(), f.env(), o, dir)
			ours <- outcome{summary, err}
		}()
		f.until("our dump waits", func() bool { return f.waiting("app", "z", "AccessShareLock") == 1 })
		ended = f.behind("app", ddl())
		if _, err := g.Exec(t.Context(), "rollback"); err != nil {
			t.Fatal(err)
		}
		dump := <-ours
		if dump.error != nil {
			t.Fatal(dump.error)
		}
		for range ddl() {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		contested := 0
		for _, table := range dump.Receipt.Tables {
			if table.Contested {
				contested++
			}
			if table.Rows != 1000 {
				t.Errorf("%+v", table)
			}
		}
		if contested != len(ddl()) || dump.Receipt.Attempts != 2 { // the first asks which tables there are
			t.Errorf("%d tables were contested in %d attempts: %+v", contested, dump.Receipt.Attempts, dump.Receipt)
		}
		f.restore(dir, "copy", 4)
		same(t, "what was there before", strings.ReplaceAll(f.plain("copy"), "copy", "app"), want)
	})
}

// While the dump cannot have a table, it lets all others go again and again: nobody
// waits behind a dump that waits. It says who is in the way, and succeeds when he has
// gone.
func TestWaitingForALockHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.sql("app", recipe)
		g := f.locked("app", "z")
		dir := filepath.Join(t.TempDir(), "dump")
		o := f.options()
		o.LockTimeout = 100 * time.Millisecond
		ours := make(chan error, 1)
		go func() {
			_, err := postgres.Dump(t.Context(), f.env(), o, dir)
			ours <- err
		}()
		f.until("our dump waits", func() bool { return f.waiting("app", "z", "AccessShareLock") == 1 })
		f.sql("app", "alter table a add column more int default 7") // comes through though z is held
		f.until("the blocker is named", func() bool {
			return f.heard(fmt.Sprintf("z is locked by process %d", g.PgConn().PID())) && f.heard("lock table z in access exclusive mode")
		})
		if _, err := g.Exec(t.Context(), "rollback"); err != nil {
			t.Fatal(err)
		}
		if err := <-ours; err != nil {
			t.Fatal(err)
		}
		f.restore(dir, "copy", 2)
		same(t, "the copy", strings.ReplaceAll(f.plain("copy"), "copy", "app"), f.plain("app"))
	})
}

// When the time for all attempts is over, the error names who was in the way.
func TestLockWaitEnds(t *testing.T) {
	t.Parallel()
	f := newField(t, 15)
	f.sql("app", recipe)
	g := f.locked("app", "z")
	o := f.options()
	o.LockTimeout, o.LockWait = 100*time.Millisecond, time.Second
	dir := filepath.Join(t.TempDir(), "dump")
	_, err := postgres.Dump(t.Context(), f.env(), o, dir)
	for _, want := range []string{"not within 1s", fmt.Sprintf("z is locked by process %d", g.PgConn().PID()), "--lock-wait", "--exclude-table"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
	f.gone(dir)
	// Without that table nothing is in the way.
	o.ExcludeTables = []string{"z"}
	f.dump(o)
}
