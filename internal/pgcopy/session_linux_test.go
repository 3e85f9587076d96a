package pgcopy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pgcopy"
	"capstan/internal/rowsum"
)

// take connects and takes the connection over.
func take(t *testing.T, s *pgtest.Server) *pgcopy.Session {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), s.DSN("postgres")+" application_name=taken")
	if err != nil {
		t.Fatal(err)
	}
	session, err := pgcopy.Take(t.Context(), conn)
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
	s.Exec("create table t (n int, v text)", "insert into t select n, repeat('x', n * 100000) from generate_series(0, 20) n", "insert into t select n, repeat('y', n % 40) from generate_series(21, 50000) n")
	want := s.Text("select string_agg(n || chr(9) || v || chr(10), '' order by n) from t")

	sum, _, err := rowsum.Text(strings.NewReader(want + "\\.\n"))
	if err != nil {
		t.Fatal(err)
	}

	session := take(t, s)
	for range 2 { // a row is longer than the buffer
		var got bytes.Buffer
		result, err := session.Copy(t.Context(), "begin; savepoint a; copy (select * from t order by n) to stdout", &got)
		if err != nil || got.String() != want || result.Rows != 50001 || result.Sum != sum || result.Bytes != int64(len(want)) {
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

// Several COPYs that were sent at once give their data one by one; what is sent after
// them is answered after them, and an error belongs to the one that failed.
func TestNext(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	session := take(t, s)
	copies := "begin; copy (select 1) to stdout; set local lock_timeout = 0; copy (select n from generate_series(1, 3) n) to stdout; copy (select 1 where false) to stdout"
	for _, sql := range []string{copies, "copy (select 4) to stdout", "copy (select 5) to stdout; copy nowhere to stdout; copy (select 6) to stdout", "rollback"} {
		if err := session.Send(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	next := func(want string, rows int64) {
		t.Helper()
		var got bytes.Buffer
		result, err := session.Next(t.Context(), &got)
		if err != nil || got.String() != want || result.Rows != rows || result.Bytes != int64(len(want)) {
			t.Errorf("%q, %+v, %v; want %q", got.String(), result, err, want)
		}
	}
	end := func() {
		t.Helper()
		if _, err := session.Receive(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	next("1\n", 1)
	next("1\n2\n3\n", 3)
	next("", 0)
	end()
	next("4\n", 1)
	end()
	next("5\n", 1)
	refused := &pgconn.PgError{}
	if _, err := session.Next(t.Context(), io.Discard); !errors.As(err, &refused) || refused.Code != "42P01" {
		t.Errorf("%v", err)
	}
	end() // of the rollback
	if err := session.Send(t.Context(), "copy (select 7) to stdout"); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Receive(t.Context(), nil); err == nil {
		t.Error("data that nobody received is passed over")
	}
	if err := session.Close(t.Context()); err != nil {
		t.Error(err)
	}
	gone(t, s)
}

// slowConn holds a write up, once it is armed, until the driver has read the answer in
// the background and reads on: what it does on a busy machine after 15 ms.
type slowConn struct {
	net.Conn
	armed atomic.Bool
	reads chan struct{}
}

func (c *slowConn) Read(p []byte) (int, error) {
	if c.armed.Load() {
		select {
		case c.reads <- struct{}{}:
		default: // nobody waits for more
		}
	}
	return c.Conn.Read(p)
}

func (c *slowConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.armed.Load() {
		for range 2 {
			<-c.reads
		}
		c.armed.Store(false)
	}
	return n, err
}

// A connection whose driver still reads in the background loses nothing when it is taken.
func TestTakenWhileTheDriverReads(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	config, err := pgconn.ParseConfig(s.DSN("postgres") + " application_name=taken")
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowConn{reads: make(chan struct{}, 2)}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		slow.Conn = conn
		return slow, err
	}
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	slow.armed.Store(true)
	if _, err := conn.Exec(t.Context(), "select 1").ReadAll(); err != nil {
		t.Fatal(err)
	}
	session, err := pgcopy.Take(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := session.Copy(t.Context(), "copy (select n from generate_series(1, 100000) n) to stdout", io.Discard); err != nil || result.Rows != 100000 {
		t.Errorf("%+v, %v", result, err)
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
