package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/progress"
	"capstan/internal/source/postgres"
)

// patience is when something counts as hung. Nothing takes that long when all is well.
const patience = 4 * time.Minute

// field is a server with a database to dump.
type field struct {
	*pgtest.Server
	t    *testing.T
	mu   sync.Mutex
	said []string
}

func newField(t *testing.T, major int, conf ...string) *field {
	t.Helper()
	f := &field{Server: pgtest.New(t, pgtest.Options{Major: major, Memory: true, Conf: conf}), t: t}
	f.Start()
	f.Exec("create database app")
	return f
}

// sql carries statements out in a database, all in one go.
func (f *field) sql(database, statements string) {
	f.t.Helper()
	conn := f.Conn(database)
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(f.t.Context(), statements).ReadAll(); err != nil {
		f.t.Fatalf("%v\n%.300s", err, statements)
	}
}

// value is the one value of a query of a database.
func (f *field) value(database, query string) string {
	f.t.Helper()
	var value *string
	conn := f.Conn(database)
	defer conn.Close(context.Background())
	if err := conn.QueryRow(f.t.Context(), "select ("+query+")::text").Scan(&value); err != nil {
		f.t.Fatalf("%v: %s", err, query)
	}
	if value == nil {
		return ""
	}
	return *value
}

// fill runs the files with many kinds of objects, those that the release has.
func (f *field) fill(database string) {
	f.t.Helper()
	files := []string{"objects.sql"}
	for _, since := range []int{13, 15, 18} {
		if f.Major >= since {
			files = append(files, fmt.Sprintf("objects_%d.sql", since))
		}
	}
	for _, name := range files {
		objects, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.t.Fatal(err)
		}
		f.sql(database, string(objects))
	}
}

func (f *field) env() postgres.Env {
	say := func(format string, args ...any) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.said = append(f.said, fmt.Sprintf(format, args...))
	}
	return postgres.Env{Tracker: progress.New(nil), Say: say, Warn: say}
}

// heard reports whether something was said.
func (f *field) heard(text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Contains(strings.Join(f.said, "\n"), text)
}

// options are those of a dump of the database app.
func (f *field) options() postgres.Options {
	return postgres.Options{URL: f.URL("app"), PgDump: pgtest.Client(f.t, f.Major, "pg_dump"), Jobs: 2}
}

// dump dumps, and fails the test if that does.
func (f *field) dump(o postgres.Options) (string, postgres.Summary) {
	f.t.Helper()
	dir := filepath.Join(f.t.TempDir(), "dump")
	summary, err := postgres.Dump(f.t.Context(), f.env(), o, dir)
	if err != nil {
		f.t.Fatalf("%v\n%s", err, strings.Join(f.said, "\n"))
	}
	return dir, summary
}

// client runs a client program of the server's version and gives what it printed.
func (f *field) client(program string, args ...string) string {
	f.t.Helper()
	out, err := f.try(program, args...)
	if err != nil {
		f.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

func (f *field) try(program string, args ...string) (string, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, pgtest.Client(f.t, f.Major, program), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return out.String() + errs.String(), err
}

// restore restores a dump into a new database by the stock pg_restore.
func (f *field) restore(dir, database string, jobs int) {
	f.t.Helper()
	f.Exec("create database " + database)
	out := f.client("pg_restore", "--exit-on-error", fmt.Sprintf("--jobs=%d", jobs), "--dbname="+f.URL(database), dir)
	if out != "" {
		f.t.Errorf("pg_restore said: %s", out)
	}
}

// plain is the plain dump of a database by the stock pg_dump, without the key that is
// another each time.
func (f *field) plain(database string, args ...string) string {
	f.t.Helper()
	out := f.client("pg_dump", append(args, f.URL(database))...)
	var kept []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, `\restrict `) && !strings.HasPrefix(line, `\unrestrict `) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// same compares two plain dumps and shows where they part.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("%s differs in line %d:\n%.300s\nwant\n%.300s", what, i+1, a[i], b[i])
		}
	}
	t.Fatalf("%s has %d lines, want %d", what, len(a), len(b))
}

// sessions is how many sessions of a dump the server has.
func (f *field) sessions() string {
	f.t.Helper()
	return f.Text("select count(*) from pg_stat_activity where application_name = 'capstan'")
}

// majors are the versions that have clients of their own here.
func majors() []int { return []int{15, 17, 18} }

// each runs a test on a server of every version of majors.
func each(t *testing.T, do func(t *testing.T, major int)) {
	t.Helper()
	for _, major := range majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			do(t, major)
		})
	}
}

// gone fails the test unless a failed dump has left nothing, neither on the disk nor
// on the server.
func (f *field) gone(dir string) {
	f.t.Helper()
	f.empty(dir)
	f.until("all sessions to end", func() bool { return f.sessions() == "0" })
}

// empty is gone for the disk alone.
func (f *field) empty(dir string) {
	f.t.Helper()
	for _, path := range []string{dir, dir + ".part"} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			f.t.Errorf("%s: %v", path, err)
		}
	}
}
