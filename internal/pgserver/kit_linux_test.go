package pgserver

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/goleak"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/pg"
)

func TestMain(m *testing.M) {
	// These tests wait most of their time: for servers that are being held up.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	// pgx closes a connection whose context ended in the background.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/jackc/pgx/v5/pgconn.(*PgConn).asyncClose.func1"))
}

// rig is a server with what a test knows of it.
type rig struct {
	*pgtest.Server
	t       *testing.T
	cluster *pg.Cluster
	home    string

	observer *Observer // once a server was looked at

	mu           sync.Mutex
	audit, warns []string
}

func newRig(t *testing.T, major int, conf ...string) *rig {
	t.Helper()
	return newRigWith(t, pgtest.Options{Major: major}, conf...)
}

func newRigWith(t *testing.T, options pgtest.Options, conf ...string) *rig {
	t.Helper()
	// Tests that let the server sync are about a disk.
	options.Memory = !slices.ContainsFunc(conf, func(line string) bool { return strings.HasPrefix(line, "fsync") })
	options.Conf = append([]string{"wal_level = logical"}, conf...)
	s := pgtest.New(t, options)
	cluster, err := pg.Open(disk.FS{}, s.Data)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Server: s, t: t, cluster: cluster, home: t.TempDir()}
}

func (r *rig) env() Env {
	note := func(to *[]string, text string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		*to = append(*to, text)
	}
	return Env{
		Home: r.home,
		Say:  func(format string, args ...any) { r.t.Logf("say: "+format, args...) },
		Warn: func(format string, args ...any) {
			note(&r.warns, fmt.Sprintf(format, args...))
			r.t.Logf("warn: "+format, args...)
		},
		Audit: func(_ context.Context, action, object, detail string) error {
			if action != "pg stop" || object != r.cluster.Dir {
				r.t.Errorf("audit %q %q", action, object)
			}
			note(&r.audit, detail)
			return nil
		},
	}
}

// stop stops the server and checks the facts of a success.
func (r *rig) stop(options StopOptions) StopSummary {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	summary, err := Stop(ctx, r.env(), r.cluster, options)
	if err != nil {
		r.t.Fatalf("%v; %+v", err, summary)
	}
	r.stoppedCleanly(summary)
	return summary
}

func (r *rig) stoppedCleanly(summary StopSummary) {
	r.t.Helper()
	if summary.Status != Stopped {
		r.t.Errorf("status %s: %+v", summary.Status, summary)
	}
	select {
	case <-r.Exited():
	case <-time.After(time.Minute):
		r.t.Error("the server is still there")
	}
	look := r.look()
	if verdict := look.Judge(); !look.Control.State.Clean() || len(look.Strays) > 0 || verdict.Phase != PhaseClean {
		r.t.Errorf("after the stop: %+v", look)
	}
}

// watch gives the observer, which is made while the server runs: asking for
// cluster_name takes longer than some phases.
func (r *rig) watch() *Observer {
	r.t.Helper()
	if r.observer == nil {
		o, err := NewObserver(r.t.Context(), r.cluster, "")
		if err != nil {
			r.t.Fatal(err)
		}
		r.observer = o
	}
	return r.observer
}

func (r *rig) look() Look {
	r.t.Helper()
	look, err := r.watch().Look(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return look
}

// Signal is that of the server, which is watched from then on.
func (r *rig) Signal(signal syscall.Signal) {
	r.t.Helper()
	r.watch()
	r.Server.Signal(signal)
}

// until waits until the server is in a phase, and gives the look.
func (r *rig) until(phase Phase) (look Look) {
	r.t.Helper()
	pgtest.Eventually(r.t, time.Minute, func() (bool, string) {
		look = r.look()
		verdict := look.Judge()
		return verdict.Phase == phase, fmt.Sprintf("%s: %s, not %s", verdict.Phase, verdict.Why, phase)
	})
	return look
}

// verdict is until's verdict.
func (r *rig) verdict(phase Phase) Verdict {
	r.t.Helper()
	look := r.until(phase)
	return look.Judge()
}

// consumer is a receiver of WAL that takes what it is sent, or nothing at all, and
// never says that it has it.
type consumer struct {
	conn *pgconn.PgConn
}

// consume starts replication with a command and reads until the first answer.
func (r *rig) consume(command string) *consumer {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	dsn := r.DSN("postgres")
	if r.TCP {
		dsn = strings.Replace(dsn, "host="+r.Socket, "host=127.0.0.1", 1)
	}
	conn, err := pgconn.Connect(ctx, dsn+" replication=database")
	if err != nil {
		r.t.Fatal(err)
	}
	c := &consumer{conn: conn}
	r.t.Cleanup(c.close)
	conn.Frontend().Send(&pgproto3.Query{String: command})
	if err := conn.Frontend().Flush(); err != nil {
		r.t.Fatal(err)
	}
	for {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		switch message.(type) {
		case *pgproto3.CopyBothResponse, *pgproto3.CopyOutResponse:
			return c
		}
	}
}

func (c *consumer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_ = c.conn.Close(ctx)
	<-c.conn.CleanupDone()
}

// logical makes a slot and a consumer of it that does not answer.
func (r *rig) logical(slot string) *consumer {
	r.t.Helper()
	r.Exec("create table if not exists t (n int, filler text)", "select pg_create_logical_replication_slot('"+slot+"', 'test_decoding')")
	return r.consume("START_REPLICATION SLOT " + slot + " LOGICAL 0/0")
}

// fill gives consumers more than any socket holds, and waits until a walsender
// cannot send on.
func (r *rig) fill() {
	r.t.Helper()
	r.Exec("insert into t select n, repeat('x', 1000) from generate_series(1, 20000) n")
	pgtest.Eventually(r.t, time.Minute, func() (bool, string) {
		waits := r.Text("select coalesce(wait_event, '') from pg_stat_activity where backend_type = 'walsender'")
		return strings.HasPrefix(waits, "WalSenderWrite") || waits == "ClientWrite", "the walsender waits for " + waits
	})
}

// slow makes an archive command that takes long for each file, and a backlog.
func archiving(t *testing.T, seconds string) (conf []string, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return []string{"archive_mode = on", "archive_command = 'sleep " + seconds + "; cp %p " + dir + "/%f'"}, dir
}

// backlog makes files ready for the archiver.
func (r *rig) backlog(files int) {
	r.t.Helper()
	r.Exec("create table if not exists b (n int)")
	for range files {
		r.Exec("insert into b values (1)", "select pg_switch_wal()")
	}
}

func names(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
