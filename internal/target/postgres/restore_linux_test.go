package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/progress"
	"capstan/internal/target/postgres"
)

// field is a server with a database that holds many kinds of objects, and a dump of it.
type field struct {
	*pgtest.Server
	t      *testing.T
	dump   string
	client string // pg_restore of the dump's version
	warns  []string
}

func newField(t *testing.T, major, dumper int, flags ...string) *field {
	t.Helper()
	f := &field{Server: pgtest.New(t, pgtest.Options{Major: major, Memory: true}), t: t, dump: filepath.Join(t.TempDir(), "dump")}
	f.Start()
	sql, err := os.ReadFile("../../source/postgres/testdata/objects.sql")
	if err != nil {
		t.Fatal(err)
	}
	f.Exec("CREATE DATABASE app TEMPLATE template0 ENCODING 'UTF8'", "CREATE ROLE reader", "ALTER DATABASE app SET work_mem = '5MB'", "ALTER ROLE reader IN DATABASE app SET work_mem = '6MB'",
		"COMMENT ON DATABASE app IS 'the app''s'", "REVOKE TEMPORARY ON DATABASE app FROM PUBLIC")
	conn := f.Conn("app")
	if _, err := conn.PgConn().Exec(t.Context(), string(sql)).ReadAll(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.client = pgtest.Client(t, dumper, "pg_restore")
	f.stock(dumper, "pg_dump", append(flags, "-Fd", "-f", f.dump, f.URL("app"))...)
	return f
}

// stock runs a program of PostgreSQL and gives what it printed.
func (f *field) stock(major int, program string, args ...string) string {
	f.t.Helper()
	out, err := exec.CommandContext(f.t.Context(), pgtest.Client(f.t, major, program), args...).CombinedOutput()
	if err != nil {
		f.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (f *field) restore(options postgres.Options) (postgres.Summary, error) {
	f.t.Helper()
	options.Dir, options.PgRestore = f.dump, f.client
	warn := func(format string, args ...any) { f.warns = append(f.warns, fmt.Sprintf(format, args...)) }
	return postgres.Restore(f.t.Context(), postgres.Env{Disk: disk.FS{}, Tracker: progress.New(nil), Say: f.t.Logf, Warn: warn}, options)
}

var volatile = regexp.MustCompile(`(?m)^(-- Dumped .*|-- (Started|Completed) on .*|\\(un)?restrict .*)$`)

// plain is a database as SQL, without what is of the moment.
func (f *field) plain(major int, database string) string {
	f.t.Helper()
	return volatile.ReplaceAllString(f.stock(major, "pg_dump", f.URL(database)), "")
}

// A restored database is the one that was dumped: its plain dump is the same text,
// and the database's own settings are there under its new name.
func TestRestore(t *testing.T) {
	t.Parallel()
	for major, dumper := range map[int]int{13: 15, 15: 15, 17: 17, 18: 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			flags := map[int][]string{17: {"-Zzstd"}, 18: {"-Z0"}}[major]
			f := newField(t, major, dumper, flags...)
			want := f.plain(dumper, "app")
			for _, jobs := range []int{1, 4} {
				name := fmt.Sprintf(`my"copy"%d`, jobs)
				s, err := f.restore(postgres.Options{URL: f.DSN("postgres") + ` dbname='` + name + `'`, Create: true, Jobs: jobs})
				if err != nil {
					t.Fatalf("jobs %d: %v\n%+v", jobs, err, s)
				}
				if got := f.plain(dumper, strings.ReplaceAll(name, `"`, "%22")); got != want {
					t.Errorf("jobs %d: the copy is not the same", jobs)
				}
				if s.Tables < 13 || s.Bytes == 0 || s.Objects < 90 || s.Database != name {
					t.Errorf("jobs %d: %+v", jobs, s)
				}
				settings := "SELECT (SELECT string_agg(setrole::regrole || array_to_string(setconfig, ','), ';' ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid) || shobj_description(oid, 'pg_database') || (SELECT string_agg(a::text, ';' ORDER BY a::text) FROM unnest(datacl) a) FROM pg_database d WHERE datname = '%s'"
				if got, want := f.Text(fmt.Sprintf(settings, name)), f.Text(fmt.Sprintf(settings, "app")); got != want || !strings.Contains(want, "5MB") || !strings.Contains(want, "6MB") {
					t.Errorf("jobs %d: settings %s, want %s", jobs, got, want)
				}
			}
			if len(f.warns) > 0 {
				t.Errorf("warnings %q", f.warns)
			}
		})
	}
}

// What is in the way is refused before anything is changed, and --clean replaces it.
func TestInTheWay(t *testing.T) {
	t.Parallel()
	f := newField(t, 15, 15)
	if _, err := f.restore(postgres.Options{URL: f.URL("app"), Create: true}); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("a database that is there: %v", err)
	}
	if _, err := f.restore(postgres.Options{URL: f.URL("app")}); !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), "already there") {
		t.Errorf("tables that are there: %v", err)
	}
	if _, err := f.restore(postgres.Options{URL: f.URL("none")}); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a database that is not there: %v", err)
	}
	for _, options := range []postgres.Options{{}, {URL: f.URL("app"), Create: true, Clean: true}, {URL: f.URL("app"), Jobs: -1}, {URL: f.URL("app"), Tables: []string{""}}} {
		if _, err := f.restore(options); !errors.Is(err, capstan.ErrUsage) {
			t.Errorf("%+v: %v", options, err)
		}
	}
	for _, options := range []postgres.Options{{URL: f.URL("app"), Tables: []string{"none"}}, {URL: f.URL("app"), Schemas: []string{"none"}}} {
		if _, err := f.restore(options); !errors.Is(err, capstan.ErrNotFound) {
			t.Errorf("%+v: %v", options, err)
		}
	}
	want := f.plain(15, "app")
	f.Exec("CREATE DATABASE other TEMPLATE app")
	other := f.Conn("other").PgConn()
	if _, err := other.Exec(t.Context(), "DELETE FROM orders; UPDATE people SET name = name || id; DROP VIEW grown").ReadAll(); err != nil {
		t.Fatal(err)
	}
	s, err := f.restore(postgres.Options{URL: f.URL("other"), Clean: true})
	if err != nil {
		t.Fatalf("%v: %+v", err, s)
	}
	if f.plain(15, "other") != want {
		t.Error("what was restored over another state is not the same")
	}
}

// A table comes with its rows, indexes, constraints, triggers, sequence and rights; a
// foreign key only with both of its tables.
func TestChosenTables(t *testing.T) {
	t.Parallel()
	f := newField(t, 17, 17)
	f.Exec("CREATE DATABASE part")
	s, err := f.restore(postgres.Options{URL: f.URL("part"), Tables: []string{"orders", "public.empty"}})
	if err != nil {
		t.Fatalf("%v: %+v", err, s)
	}
	count := func(database, query string) (n int64) {
		if err := f.Conn(database).QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM orders": count("app", "SELECT count(*) FROM orders"),
		"SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'":                  2,
		"SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'":                                                   2,
		"SELECT count(*) FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype IN ('p', 'c')":             2,
		"SELECT count(*) FROM pg_constraint WHERE contype = 'f'":                                                       0,
		"SELECT nextval('orders_id_seq')":                                                                              count("app", "SELECT last_value + 1 FROM orders_id_seq"),
		"SELECT count(*) FROM pg_statistic_ext":                                                                        1,
		"SELECT count(*) FROM information_schema.column_privileges WHERE grantee = 'PUBLIC' AND table_name = 'orders'": 1,
	} {
		if got := count("part", query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	if s.Tables != 2 {
		t.Errorf("%+v", s)
	}
	f.Exec("CREATE DATABASE odd")
	if _, err := f.Conn("odd").PgConn().Exec(t.Context(), "CREATE COLLATION german (provider = libc, locale = 'C')").ReadAll(); err != nil {
		t.Fatal(err)
	}
	if s, err = f.restore(postgres.Options{URL: f.URL("odd"), Schemas: []string{`Odd "schema"`}}); err != nil {
		t.Fatalf("%v: %+v", err, s)
	}
	if got := count("odd", `SELECT count(*) FROM "Odd ""schema"""."Table, with ""all"" FROM"`); got != 50 {
		t.Errorf("%d rows", got)
	}
}

// What pg_restore could not do is named, and the rest is there; a newer pg_restore's
// parameter that the server does not know is no problem.
func TestProblems(t *testing.T) {
	t.Parallel()
	f := newField(t, 15, 17, "-Zzstd")
	f.Exec("CREATE DATABASE half")
	if _, err := f.Conn("half").PgConn().Exec(t.Context(), "CREATE FUNCTION touch() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE mood AS ENUM ('other')").ReadAll(); err != nil {
		t.Fatal(err)
	}
	// Of one process each object is told; several write into each other's lines.
	s, err := f.restore(postgres.Options{URL: f.URL("half"), Jobs: 1})
	if !errors.Is(err, capstan.ErrIncomplete) || s.PgRestore[:3] != "17." {
		t.Fatalf("%v: %+v", err, s)
	}
	objects := map[string]string{}
	for _, p := range s.Problems {
		objects[p.Object] += p.Err
	}
	for object, word := range map[string]string{"TYPE public mood": "already exists", "TABLE public people": "invalid input value for enum", "TABLE DATA public people": "does not exist"} {
		if !strings.Contains(objects[object], word) {
			t.Errorf("%s: %q, all: %+v", object, objects[object], s.Problems)
		}
	}
	if slices.ContainsFunc(s.Problems, func(p postgres.Problem) bool { return strings.Contains(p.Err, "transaction_timeout") || p.Object == "" }) {
		t.Errorf("%+v", s.Problems)
	}
	if got := f.Text("SELECT 1"); got != "1" {
		t.Error(got)
	}
	f.Exec("CREATE DATABASE beside TEMPLATE template0")
	if _, err := f.Conn("beside").PgConn().Exec(t.Context(), "CREATE TYPE mood AS ENUM ('other')").ReadAll(); err != nil {
		t.Fatal(err)
	}
	if s, err := f.restore(postgres.Options{URL: f.URL("beside"), Jobs: 4}); !errors.Is(err, capstan.ErrIncomplete) || int64(len(s.Problems))+s.Unnamed < 10 {
		t.Errorf("with jobs: %v: %+v", err, s)
	}
	// Whole, in spite of the parameter.
	if s, err := f.restore(postgres.Options{URL: f.DSN("postgres") + " dbname=whole", Create: true}); err != nil {
		t.Errorf("%v: %+v", err, s)
	}
	if f.plain(17, "whole") != f.plain(17, "app") {
		t.Error("the copy is not the same")
	}
}
