package pgcopy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pgcopy"
)

// take connects and takes the connection over.
func take(t *testing.T, s *pgtest.Server) *pgcopy.Session {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), s.DSN("postgres")+" application_name=taken")
	if err != nil {
		t.Fatal(err)
	}
	session, err := pgcopy.Take(conn)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// gone waits until the server has none of our sessions any more.
func gone(t *testing.T, s *pgtest.Server) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, func() (bool, string) {
		return s.Text("select count(*) from pg_stat_activity where application_name = 'taken'") == "0", "the session is there still"
	})
}

func TestSession(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("create table t (n int, v text)", "insert into t select n, repeat('x', n * 100000) from generate_series(0, 20) n")
	want := s.Text("select string_agg(n || chr(9) || v || chr(10), '' order by n) from t")

	session := take(t, s)
	for range 2 { // a row is longer than the buffer
		var got bytes.Buffer
		result, err := session.Copy(t.Context(), "begin; savepoint a; copy t to stdout", &got)
		if err != nil || got.String() != want || result.Rows != 21 || result.Bytes != int64(len(want)) {
			t.Fatalf("%+v, %d bytes, %v", result, got.Len(), err)
		}
		// What the server refuses ends the transaction, not the session.
		refused := &pgconn.PgError{}
		if _, err := session.Copy(t.Context(), "copy nowhere to stdout", &got); !errors.As(err, &refused) || refused.Code != "42P01" {
			t.Errorf("%v", err)
		}
		if err := session.Exec(t.Context(), "rollback"); err != nil {
			t.Error(err)
		}
	}
	if _, err := session.Copy(t.Context(), "select 1", io.Discard); err == nil {
		t.Error("what is no COPY passes for one")
	}
	if err := session.Close(t.Context()); err != nil {
		t.Error(err)
	}
	gone(t, s)
}

// Statements that are sent together are answered one by one, in their order; a session
// that is owed an answer ends at the server when it is closed.
func TestSentTogether(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 17, Memory: true})
	s.Start()
	session := take(t, s)
	if _, err := session.Receive(t.Context(), nil); err == nil {
		t.Error("an answer to nothing")
	}
	statements := []string{"begin; savepoint a; copy (select 1) to stdout", "rollback to a", "copy (select n from generate_series(1, 3) n) to stdout", "copy nowhere to stdout", "rollback", "copy (select 2) to stdout"}
	for _, sql := range statements {
		if err := session.Send(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"1\n", "", "1\n2\n3\n", "", "", "2\n"} {
		var got bytes.Buffer
		var w io.Writer
		if want != "" {
			w = &got
		}
		_, err := session.Receive(t.Context(), w)
		if refused := i == 3; (err != nil) != refused || got.String() != want {
			t.Errorf("%s: %q, %v", statements[i], got.String(), err)
		}
	}
	if err := session.Send(t.Context(), "select pg_sleep(3600)"); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(t.Context()); err != nil {
		t.Error(err)
	}
	gone(t, s)
}

// failing is a disk that is full.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A session that was left in the middle of a statement ends at the server when it is
// closed, whatever the reason.
func TestLeftInTheMiddle(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 17, Memory: true})
	s.Start()
	for name, leave := range map[string]func(t *testing.T, session *pgcopy.Session) (got, want error){
		"writer": func(t *testing.T, session *pgcopy.Session) (got, want error) {
			t.Helper()
			want = errors.New("disk full")
			_, got = session.Copy(t.Context(), "copy (select repeat('x', 1000) from generate_series(1, 10000000)) to stdout", failing{want})
			return got, want
		},
		"context": func(t *testing.T, session *pgcopy.Session) (got, want error) {
			t.Helper()
			want = errors.New("the test's own reason")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				pgtest.Eventually(t, time.Minute, func() (bool, string) {
					return s.Text("select count(*) from pg_stat_activity where application_name = 'taken' and wait_event = 'PgSleep'") == "1", "it does not sleep"
				})
				cancel(want)
			}()
			_, got = session.Copy(ctx, "copy (select pg_sleep(3600)) to stdout", io.Discard)
			return got, want
		},
	} {
		session := take(t, s)
		if got, want := leave(t, session); !errors.Is(got, want) {
			t.Errorf("%s: %v", name, got)
		}
		if _, err := session.Copy(t.Context(), "copy (select 1) to stdout", io.Discard); err == nil {
			t.Errorf("%s: the session goes on", name)
		}
		if err := session.Close(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		gone(t, s)
	}
}

// A server that goes in the middle is an error, never the end of the data.
func TestServerGoes(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 18, Memory: true})
	s.Start()
	session := take(t, s)
	crashed := false
	_, err := session.Copy(t.Context(), "copy (select repeat('x', 1000) from generate_series(1, 10000000)) to stdout", writer(func() {
		if !crashed {
			crashed = true
			s.Crash()
		}
	}))
	if err == nil || !crashed {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_ = session.Close(ctx) // there is nobody to ask
}

type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
