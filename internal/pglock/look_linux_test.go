package pglock_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pglock"
)

const patience = 2 * time.Minute

func started(t *testing.T, major int, conf ...string) *pgtest.Server {
	t.Helper()
	s := pgtest.New(t, pgtest.Options{Major: major, Conf: conf, Memory: true})
	s.Start()
	return s
}

// behind runs a statement that has to wait, and returns when the server shows that it
// does.
func behind(t *testing.T, s *pgtest.Server, statement string) (pid int) {
	t.Helper()
	conn := s.Conn("postgres")
	pid = int(conn.PgConn().PID())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = conn.Exec(context.WithoutCancel(t.Context()), statement) // ends with the connection
	}()
	t.Cleanup(func() {
		_ = conn.PgConn().Conn().Close() // the statement ends; the server's session ends with the server
		<-ended
	})
	pgtest.Eventually(t, patience, func() (bool, string) {
		return s.Text(fmt.Sprintf("SELECT count(*) FROM pg_locks WHERE pid = %d AND NOT granted", pid)) == "1", statement + " does not wait"
	})
	return pid
}

func look(t *testing.T, s *pgtest.Server) pglock.Report {
	t.Helper()
	conn := s.Conn("postgres")
	if err := pglock.Prepare(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	report, err := pglock.Look(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// A reader that went away with its transaction open, an ALTER that waits for it, and
// readers that wait behind the ALTER, although nobody holds more than a lock for
// reading.
func TestQueueBehindDDL(t *testing.T) {
	t.Parallel()
	for _, major := range []int{13, 15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			s := started(t, major)
			s.Exec(`CREATE TABLE "odd ""name" (a int)`)
			if got := look(t, s); len(got.Waits) != 0 || len(got.Advice) != 0 {
				t.Errorf("nobody waits: %+v", got)
			}
			reader := s.Conn("postgres")
			begin(t, reader, `SET application_name = 'report'; BEGIN; SELECT * FROM "odd ""name"`)
			ddl := behind(t, s, `ALTER TABLE "odd ""name" ADD COLUMN b int`)
			first := behind(t, s, `SELECT * FROM "odd ""name"`)
			second := behind(t, s, `SELECT a FROM "odd ""name"`)

			report := look(t, s)
			waits := map[int]pglock.Wait{}
			for _, w := range report.Waits {
				waits[w.PID] = w
				if w.Object != `public."odd ""name"` || w.Kind != "relation" || w.Seconds < 0 || w.Seconds > patience.Seconds() || w.Database != "postgres" || w.Client != "local" {
					t.Errorf("%+v", w)
				}
			}
			holder := int(reader.PgConn().PID())
			if w := waits[ddl]; len(waits) != 3 || w.Mode != "AccessExclusiveLock" || len(w.Behind) != 1 || w.Behind[0].PID != holder || w.Behind[0].Queued ||
				w.Behind[0].Mode != "AccessShareLock" || w.Behind[0].Application != "report" || w.Behind[0].State != "idle in transaction" || !strings.HasPrefix(w.Query, "ALTER") {
				t.Errorf("%d waits; the ALTER: %+v", len(waits), w)
			}
			for _, pid := range []int{first, second} {
				if w := waits[pid]; len(w.Behind) != 1 || w.Behind[0].PID != ddl || !w.Behind[0].Queued || w.Behind[0].Mode != "AccessExclusiveLock" {
					t.Errorf("a reader: %+v", w)
				}
			}
			if len(report.Advice) != 2 {
				t.Fatalf("advice %+v", report.Advice)
			}
			root, queued := report.Advice[0], report.Advice[1]
			if root.PID != holder || root.Held != 3 || !strings.Contains(root.Says, "(report) has been idle") || !strings.Contains(root.Next, fmt.Sprint(holder)) {
				t.Errorf("%+v", root)
			}
			if queued.PID != ddl || queued.Held != 2 || !strings.Contains(queued.Says, "holds up 2 sessions") || !strings.Contains(queued.Next, "lock_timeout") {
				t.Errorf("%+v", queued)
			}
		})
	}
}

// Waits that are for no relation: a row that another transaction has changed, an
// advisory lock, and one that a prepared transaction holds.
func TestOtherLocks(t *testing.T) {
	t.Parallel()
	s := started(t, 17, "max_prepared_transactions = 5")
	s.Exec("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)", "CREATE TABLE p (a int)", "CREATE DATABASE other")
	writer := s.Conn("postgres")
	begin(t, writer, "BEGIN; UPDATE t SET a = 2; SELECT pg_advisory_lock(7)")
	begin(t, s.Conn("postgres"), "BEGIN; LOCK TABLE p; PREPARE TRANSACTION 'half'")
	row := behind(t, s, "UPDATE t SET a = 3")
	advisory := behind(t, s, "SELECT pg_advisory_lock(7)")
	prepared := behind(t, s, "SELECT * FROM p")

	report := look(t, s)
	for pid, want := range map[int]struct{ kind, object string }{row: {"transactionid", "transaction "}, advisory: {"advisory", "advisory"}, prepared: {"relation", "public.p"}} {
		found := false
		for _, w := range report.Waits {
			if found = found || w.PID == pid; w.PID != pid {
				continue
			}
			by := int(writer.PgConn().PID())
			if pid == prepared {
				by = 0
			}
			if w.Kind != want.kind || !strings.HasPrefix(w.Object, want.object) || len(w.Behind) != 1 || w.Behind[0].PID != by {
				t.Errorf("%+v, want %+v behind %d", w, want, by)
			}
		}
		if !found {
			t.Errorf("the wait for %+v is not seen: %+v", want, report.Waits)
		}
	}
	var says strings.Builder
	for _, a := range report.Advice {
		says.WriteString(a.Says + "\n" + a.Next + "\n")
	}
	if got := says.String(); !strings.Contains(got, "a prepared transaction holds up 1 session") || !strings.Contains(got, "ROLLBACK PREPARED") || !strings.Contains(got, "holds up 2 sessions") {
		t.Errorf("advice:\n%s", got)
	}
}

func begin(t *testing.T, conn *pgx.Conn, statements string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
		t.Fatal(err)
	}
}
