package pgdrill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	exe "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/machine"
	"capstan/internal/pgdrill"
	"capstan/internal/progress"
	source "capstan/internal/source/postgres"
)

func TestMain(m *testing.M) {
	// pgx closes a connection whose context ended in the background.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/jackc/pgx/v5/pgconn.(*PgConn).asyncClose.func1"))
}

// field is a server with a database to dump and drill.
type field struct {
	*pgtest.Server
	t       *testing.T
	dir     string // of the dump
	scratch string // where scratch servers are made
	step    func(ctx context.Context, name, url string)
	mu      sync.Mutex
	said    []string
}

func newField(t *testing.T, major int, conf ...string) *field {
	t.Helper()
	f := &field{Server: pgtest.New(t, pgtest.Options{Major: major, Memory: true, Conf: conf}), t: t, dir: filepath.Join(t.TempDir(), "dump")}
	f.Start()
	f.Exec("CREATE DATABASE app TEMPLATE template0 ENCODING 'UTF8'")
	f.scratch = roomy(t)
	return f
}

// roomy is a directory for scratch servers, in memory where there is any.
func roomy(t *testing.T) string {
	t.Helper()
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "drill") //nolint:usetesting // its name would be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // servers run as another user
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// sql carries statements out in the database.
func (f *field) sql(database, statements string) {
	f.t.Helper()
	exec(f.t.Context(), f.t, f.URL(database), statements)
}

func exec(ctx context.Context, t *testing.T, url, statements string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.PgConn().Exec(ctx, statements).ReadAll(); err != nil {
		t.Fatalf("%v\n%.300s", err, statements)
	}
}

// objects runs the file with many kinds of objects.
func (f *field) objects() {
	f.t.Helper()
	objects, err := os.ReadFile("../source/postgres/testdata/objects.sql")
	if err != nil {
		f.t.Fatal(err)
	}
	f.sql("app", string(objects))
}

func (f *field) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

func (f *field) heard() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.said, "\n")
}

// dump dumps a database with the receipt.
func (f *field) dump(database string) {
	f.t.Helper()
	_, err := source.Dump(f.t.Context(), source.Env{Tracker: progress.New(nil), Say: f.say, Warn: f.say},
		source.Options{URL: f.URL(database), PgDump: pgtest.Client(f.t, f.Major, "pg_dump"), Jobs: 2}, f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
}

// stock runs a client program of the server's version.
func (f *field) stock(program string, args ...string) {
	f.t.Helper()
	if out, err := exe.CommandContext(f.t.Context(), pgtest.Client(f.t, f.Major, program), args...).CombinedOutput(); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
}

// here is this process as a marker has it.
func here(t *testing.T) string {
	t.Helper()
	place, err := machine.Here()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(place)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (f *field) options() pgdrill.Options {
	return pgdrill.Options{
		Dir: f.dir, Scratch: f.scratch, Bin: pgtest.Bin(f.t, f.Major), PgRestore: pgtest.Client(f.t, f.Major, "pg_restore"), Jobs: 2,
		Settings: []string{"shared_buffers=16MB"},
	}
}

func (f *field) drill(ctx context.Context, o pgdrill.Options) (pgdrill.Summary, error) {
	f.t.Helper()
	return pgdrill.Run(ctx, pgdrill.Env{Tracker: progress.New(nil), Say: f.say, Warn: f.say, Step: f.step}, o)
}

// proven drills and fails the test if the dump is not proven.
func (f *field) proven(o pgdrill.Options) pgdrill.Summary {
	f.t.Helper()
	s, err := f.drill(f.t.Context(), o)
	if err != nil || s.Status != pgdrill.Proven {
		f.t.Fatalf("%v\n%+v\n%s", err, s, f.heard())
	}
	f.clean()
	return s
}

// differs drills and fails the test unless the object is named as another.
func (f *field) differs(o pgdrill.Options, object, in string) pgdrill.Difference {
	f.t.Helper()
	s, err := f.drill(f.t.Context(), o)
	if !errors.Is(err, capstan.ErrIncomplete) || s.Status != pgdrill.Differs {
		f.t.Fatalf("%v\n%+v", err, s)
	}
	f.clean()
	for _, d := range s.Differences {
		if d.Object == object && d.In == in {
			if !strings.Contains(d.String(), object) {
				f.t.Errorf("a difference is told as %q", d)
			}
			return d
		}
	}
	f.t.Fatalf("%s is not named: %+v", object, s)
	return pgdrill.Difference{}
}

// clean fails the test if a drill has left something where scratch servers are made.
func (f *field) clean() {
	f.t.Helper()
	entries, err := os.ReadDir(f.scratch)
	if err != nil || len(entries) > 0 {
		f.t.Errorf("%d are left: %v, %v", len(entries), entries, err)
	}
}

// short bounds a test's waiting for what should come at once.
const short = time.Minute

// A sound dump is proven: all kinds of objects, roles that the scratch server does not
// have, values that are printed by the source's own settings.
func TestSound(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			f := newField(t, major)
			f.Exec("CREATE ROLE boss", `CREATE ROLE "Odd ""role"", to"`, "CREATE ROLE reader", "ALTER DATABASE app SET timezone = 'Asia/Kolkata'", "ALTER DATABASE app SET bytea_output = 'escape'",
				`ALTER DATABASE app SET search_path TO "$user", public, other`, `ALTER ROLE reader IN DATABASE app SET work_mem = '6MB'`)
			f.objects()
			f.sql("app", `ALTER TABLE orders OWNER TO boss; GRANT SELECT, INSERT ON orders TO "Odd ""role"", to" WITH GRANT OPTION;
				CREATE POLICY two ON hidden FOR SELECT TO reader, boss USING (secret IN (SELECT 'x' FROM people));
				CREATE TABLE doubles (v text); INSERT INTO doubles SELECT 'same' FROM generate_series(1, 1000);
				CREATE TABLE moments AS SELECT now() + n * interval '1 hour' AS at, n::float8 / 3 AS f, n::text::bytea AS b FROM generate_series(1, 3000) n;
				SELECT lo_from_bytea(0, decode(repeat('ab', 3000000), 'hex'))`)
			f.dump("app")
			s := f.proven(f.options())
			if s.Against != pgdrill.AgainstSource || s.Tables != 15 || s.Rows != 7099 || s.Bytes == 0 || s.Sequences != 3 || s.Large != 4 || !s.Scratch || s.Snapshot.IsZero() || s.Database != "app" ||
				!strings.HasPrefix(s.Server, fmt.Sprint(major)) || !strings.Contains(strings.Join(s.NotCompared, ";"), "materialized view public.summary") {
				t.Errorf("%+v", s)
			}
			if said := f.heard(); strings.Contains(said, "stalled") {
				t.Error(said)
			}
		})
	}
}
