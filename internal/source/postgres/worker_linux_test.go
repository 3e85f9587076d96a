package postgres

import (
	"testing"
	"time"

	"capstan/internal/capstantest/pgtest"
)

// A worker that cannot have a lock goes on with the next table, and its transaction
// is whole: also when the statement that is in the way came after everybody looked. Of
// tables that are locked together, only the one that cannot be had is left.
func TestWorkerPassesOverWhatItCannotLock(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("create table a (n int)", "create table b (n int)", "create table c (n int)", "insert into c values (7)")
	holder := s.Conn("postgres")
	if _, err := holder.Exec(t.Context(), "begin; lock table b in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	all := []*table{{quoted: "public.a"}, {quoted: "public.b"}, {quoted: "public.c"}}
	for _, groups := range [][][]*table{{all[:1], all[1:2], all[2:]}, {all}, {all[:1], all[1:]}} {
		conn := s.Conn("postgres").PgConn()
		if err := exec(t.Context(), conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
			t.Fatal(err)
		}
		w := &worker{conn: conn}
		if err := w.lock(t.Context(), groups, 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if len(w.stack) != 2 || w.stack[0].tables[0] != all[0] || w.stack[1].tables[0] != all[2] {
			t.Fatalf("%d tables are locked", len(w.stack))
		}
		// Released from the top: c is free, a is not, and the snapshot stays.
		if n, err := text(t.Context(), conn, "select n from c"); err != nil || n != "7" {
			t.Errorf("%s, %v", n, err)
		}
		if err := exec(t.Context(), conn, "ROLLBACK TO "+w.stack[1].savepoint+"; RELEASE "+w.stack[1].savepoint); err != nil {
			t.Fatal(err)
		}
		for table, want := range map[string]string{"a": "1", "c": "0"} {
			got := s.Text("select count(*) from pg_locks where relation = '" + table + "'::regclass and granted and pid <> pg_backend_pid()")
			if got != want {
				t.Errorf("%s has %s locks, want %s", table, got, want)
			}
		}
		if err := exec(t.Context(), conn, "ROLLBACK"); err != nil {
			t.Error(err)
		}
	}
	if _, err := holder.Exec(t.Context(), "rollback"); err != nil {
		t.Error(err)
	}
	conn := s.Conn("postgres").PgConn()
	if err := exec(t.Context(), conn, "BEGIN"); err != nil {
		t.Fatal(err)
	}
	w := &worker{conn: conn}
	if err := w.lock(t.Context(), [][]*table{{{quoted: "public.nowhere"}}}, time.Second); code(err) != codeNoTable {
		t.Errorf("%v", err)
	}
}
