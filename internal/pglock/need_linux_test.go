package pglock_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pglock"
)

func count(t *testing.T, s *pgtest.Server) pglock.Need {
	t.Helper()
	need, err := pglock.Count(t.Context(), s.Conn("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return need
}

// What is counted is what pg_dump locks.
func TestTablesOfADump(t *testing.T) {
	t.Parallel()
	s := started(t, 15)
	s.Exec("CREATE SCHEMA s", "CREATE TABLE s.t (a int primary key)", "CREATE TABLE p (a int) PARTITION BY LIST (a)", "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
		"CREATE VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW m AS SELECT 1", "CREATE SEQUENCE q", "CREATE UNLOGGED TABLE u (a int)")
	holder := s.Conn("postgres")
	begin(t, holder, "CREATE TEMP TABLE none (a int); BEGIN; LOCK TABLE u")
	need := count(t, s)
	var names []string
	for _, table := range need.Tables {
		names = append(names, table.Name)
		if taken := table.Name == "public.u"; taken != (table.Taken == int(holder.PgConn().PID())) {
			t.Errorf("%+v", table)
		}
	}
	if want := []string{"public.p", "public.p1", "public.u", "s.t"}; !slices.Equal(names, want) {
		t.Errorf("tables %q, want %q", names, want)
	}
	if need.Slots != 8 || need.Advised != 0 || need.PerTransaction != 64 || need.Used < 1 {
		t.Errorf("%+v", need)
	}
}

// The room that is counted on is there, and a database for which there is none is
// told apart, with a setting that gives it.
func TestRoom(t *testing.T) {
	t.Parallel()
	for _, major := range []int{13, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			conf := []string{"max_connections = 10", "max_wal_senders = 1", "max_worker_processes = 2", "autovacuum_max_workers = 1", "autovacuum = off"}
			s := started(t, major, append(conf, "max_locks_per_transaction = 30")...)
			room := count(t, s).Room
			create(s, 0, int(room)-160) // in steps: what creates tables needs locks as well
			need := count(t, s)
			if need.Advised != 0 || need.Slots != 2*int64(len(need.Tables)) {
				t.Errorf("%d tables, room for %d: %+v", len(need.Tables), room, need)
			}
			if err := lockTwice(t, s, need); err != nil {
				t.Errorf("%d tables, room for %d: %v", len(need.Tables), room, err)
			}
			create(s, int(room)-160, 12*int(room))
			need = count(t, s)
			if need.Advised == 0 {
				t.Fatalf("%d tables, room for %d", len(need.Tables), room)
			}
			var full *pgconn.PgError
			if err := lockTwice(t, s, need); !errors.As(err, &full) || full.Code != "53200" {
				t.Errorf("%d tables found room, which was said to be %d: %v", len(need.Tables), room, err)
			}
			s.Conf(fmt.Sprintf("max_locks_per_transaction = %d", need.Advised))
			s.Stop()
			s.Start()
			if err := lockTwice(t, s, need); err != nil {
				t.Errorf("%d tables with the setting advised, %d: %v", len(need.Tables), need.Advised, err)
			}
		})
	}
}

func create(s *pgtest.Server, from, to int) {
	for ; from < to; from += 20 {
		var statements []string
		for i := from; i < min(from+20, to); i++ {
			statements = append(statements, fmt.Sprintf("CREATE TABLE t%d (a int)", i))
		}
		s.Exec(strings.Join(statements, "; "))
	}
}

// lockTwice locks all tables in two sessions at once.
func lockTwice(t *testing.T, s *pgtest.Server, need pglock.Need) error {
	t.Helper()
	names := make([]string, len(need.Tables))
	for i, table := range need.Tables {
		names[i] = table.Name
	}
	for range 2 {
		conn := s.Conn("postgres")
		defer conn.Close(t.Context())
		if _, err := conn.PgConn().Exec(t.Context(), "BEGIN; LOCK TABLE ONLY "+strings.Join(names, ", ONLY ")+" IN ACCESS SHARE MODE").ReadAll(); err != nil {
			return err
		}
	}
	return nil
}
