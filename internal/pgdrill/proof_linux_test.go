package pgdrill_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pgdrill"
	"capstan/internal/pgdump"
)

// held is a database whose objects belong to several roles, with grants, row level
// security, a view that passes by it, partitions, and a tablespace.
const held = `
CREATE TABLE books (id int PRIMARY KEY, owner text, title text) TABLESPACE fast;
INSERT INTO books SELECT n, 'o' || n % 5, 'title ' || n FROM generate_series(1, 500) n;
ALTER TABLE books OWNER TO librarian; ALTER TABLE books ENABLE ROW LEVEL SECURITY; ALTER TABLE books FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON books TO readers USING (owner = current_user);
CREATE VIEW shelf AS SELECT title FROM books; ALTER VIEW shelf OWNER TO "Head; of ""all""";
GRANT SELECT ON shelf TO readers WITH GRANT OPTION; GRANT SELECT (id) ON books TO clerk;
CREATE SEQUENCE tickets; ALTER SEQUENCE tickets OWNER TO clerk;
CREATE TABLE loans (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE loans_25 PARTITION OF loans FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (id);
CREATE TABLE loans_25_a PARTITION OF loans_25 FOR VALUES IN (1, 2, 3);
CREATE TABLE loans_rest PARTITION OF loans DEFAULT;
INSERT INTO loans SELECT 1 + n % 3, date '2025-12-20' + n FROM generate_series(0, 99) n;
CREATE INDEX ON loans (day); CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM loans; ALTER TABLE loans OWNER TO librarian; ALTER MATERIALIZED VIEW counted OWNER TO librarian;
ALTER DEFAULT PRIVILEGES FOR ROLE clerk GRANT SELECT ON TABLES TO readers`

// holding makes the roles and the database, and dumps both with the stock tools.
func (f *field) holding() (globals string) {
	f.t.Helper()
	f.Exec("CREATE TABLESPACE fast LOCATION ''", "CREATE ROLE readers", "CREATE ROLE librarian LOGIN PASSWORD 'do not tell' VALID UNTIL '2031-01-01' IN ROLE readers", "CREATE ROLE clerk CREATEDB CONNECTION LIMIT 3", `CREATE ROLE "Head; of ""all""" BYPASSRLS`,
		`GRANT clerk TO "Head; of ""all""" WITH ADMIN OPTION`, "ALTER ROLE clerk SET work_mem = '7MB'", "COMMENT ON ROLE clerk IS E'two\n\\\\lines; CREATE ROLE nobody'", "GRANT CREATE ON TABLESPACE fast TO clerk")
	f.sql("app", held)
	f.dump("app")
	globals = filepath.Join(f.t.TempDir(), "roles.sql")
	f.stock("pg_dumpall", "--globals-only", "-f", globals, "-d", f.URL("postgres"))
	return globals
}

// rolesThere are the roles of a server, but for those that it has by itself.
func rolesThere(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var text string
	if err := conn.QueryRow(ctx, `SELECT string_agg(concat_ws(' ', a.rolname, rolsuper, rolcanlogin, rolbypassrls, rolcreatedb, rolconnlimit, rolpassword IS NULL, coalesce((SELECT array_to_string(r.rolconfig, ',') FROM pg_roles r WHERE r.oid = a.oid), '-'),
		(SELECT string_agg(g.rolname || m.admin_option, ',' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = a.oid)), E'\n' ORDER BY a.rolname)
		FROM pg_authid a WHERE a.rolname !~ '^pg_|^capstan'`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// Owners and grants are proven with the roles that the source had, their attributes and
// memberships, and without their passwords; without globals by roles that are made by
// name, which is said. Tablespaces are left out, which is said.
func TestRoles(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			f := newField(t, major, "allow_in_place_tablespaces = on")
			globals := f.holding()
			o := f.options()
			o.Globals = globals
			var made string
			f.step = func(ctx context.Context, name, url string) {
				if name == "compare" {
					made = rolesThere(ctx, t, url)
				}
			}
			s := f.proven(o)
			want := "Head; of \"all\" f f t f -1 t - clerktrue\nclerk f f f t 3 t -\nlibrarian f t f f -1 t - readersfalse\npostgres t t t t -1 t -\nreaders f f f f -1 t -"
			if made != want {
				t.Errorf("roles\n%s\nwant\n%s", made, want)
			}
			if s.Roles != pgdrill.RolesGlobals || s.Owners != 8 || s.Grants < 3 || s.Tables != 3 || s.Rows != 600 || strings.Join(s.NotCompared, ";") != "materialized view public.counted;tablespaces fast (everything is restored into the default one)" {
				t.Errorf("%+v", s)
			}
			f.step = func(ctx context.Context, name, url string) {
				if name == "compare" {
					exec(ctx, t, url, "ALTER TABLE books OWNER TO clerk; ALTER SEQUENCE tickets OWNER TO librarian; DROP VIEW shelf")
				}
			}
			s, err := f.drill(t.Context(), o)
			told := fmt.Sprint(s.Differences)
			for _, want := range []string{"table public.books, restored: it belongs to clerk, expected librarian", "sequence public.tickets, restored: it belongs to librarian, expected clerk", "view public.shelf, restored: it is not there"} {
				if !strings.Contains(told, want) {
					t.Errorf("%q is not told: %s", want, told)
				}
			}
			if !errors.Is(err, capstan.ErrIncomplete) || s.Status != pgdrill.Differs || len(s.Differences) != 3 {
				t.Errorf("%v\n%+v", err, s)
			}
			f.clean()
			f.step = nil
			if major != 15 {
				return
			}
			o.Globals = ""
			if s := f.proven(o); s.Roles != pgdrill.RolesNames || s.Owners != 8 || !strings.Contains(strings.Join(s.NotCompared, ";"), "attributes and memberships of roles") {
				t.Errorf("%+v", s)
			}
			if err := os.WriteFile(filepath.Join(f.dir, pgdump.Globals), []byte("\\restrict x\nCREATE ROLE clerk;\nGRANT nobody TO clerk GRANTED BY postgres;\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err = f.drill(t.Context(), o)
			if !errors.Is(err, capstan.ErrIncomplete) || s.Status != pgdrill.Differs || len(s.Problems) != 1 || s.Problems[0].Object != "roles: GRANT nobody TO clerk" || !strings.Contains(strings.Join(s.NotCompared, ";"), "librarian") {
				t.Errorf("%v\n%+v", err, s)
			}
			f.clean()
		})
	}
}

// extension makes one of SQL files, with tables whose rows it lets be dumped: one in
// part. It gives the setting that a server finds it by.
func extension(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	for _, dir := range []string{path, filepath.Dir(path)} { // servers run as another user
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // of a test
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(path, "extension"), 0o755); err != nil { //nolint:gosec // of a test
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"ours.control": "default_version = '1'\nrelocatable = true\n",
		"ours--1.sql": `create table config (k text, v text); insert into config values ('built in', '1');
			create table whole (n int); create function ours() returns int language sql immutable as 'select 7';
			create type pair as (a int, b int);
			select pg_extension_config_dump('config', 'where k <> ''built in'''); select pg_extension_config_dump('whole', '');`,
	} {
		if err := os.WriteFile(filepath.Join(path, "extension", name), []byte(content), 0o644); err != nil { //nolint:gosec // of a test
			t.Fatal(err)
		}
	}
	return "extension_control_path = '" + path + "'"
}

// The configuration tables of an extension are proven as they were dumped, in part where
// they were. Where the extension is missing, all that needs it is named, the rest is
// proven, and the drill does not pass for one that proves the dump.
func TestExtensions(t *testing.T) {
	t.Parallel()
	setting := extension(t)
	f := newField(t, 18, setting)
	f.sql("app", `create extension ours; insert into config values ('mine', '2'), ('more', '3'); insert into whole values (3);
		create table fine (n int); insert into fine select generate_series(1, 100); create table needs (n int default ours(), p pair); insert into needs values (1, row(2, 3)); create index on needs (n);
		create view late as select p from needs; create function twice(pair) returns int language sql as 'select ($1).a * 2';
		create table serials (id serial, p pair); insert into serials (p) values (row(1, 1))`)
	f.dump("app")
	o := f.options()
	o.Settings = append(o.Settings, strings.ReplaceAll(strings.ReplaceAll(setting, " ", ""), "'", ""))
	if s := f.proven(o); s.Tables != 5 || s.Rows != 105 || len(s.Unproven) != 0 {
		t.Errorf("%+v", s)
	}
	f.step = func(ctx context.Context, name, url string) {
		if name == "compare" {
			exec(ctx, t, url, "update config set v = '4' where k = 'mine'; update config set v = '4' where k = 'built in'")
		}
	}
	f.differs(o, "table public.config", "restored")
	f.step = func(ctx context.Context, name, url string) {
		if name == "compare" {
			exec(ctx, t, url, "update config set v = '4' where k = 'built in'") // which is not in the dump
		}
	}
	f.proven(o)
	f.step = nil

	s, err := f.drill(t.Context(), f.options())
	var names []string
	for _, u := range s.Unproven {
		if !strings.Contains(u.Why, "ours is not installed") {
			t.Errorf("%+v", u)
		}
		names = append(names, u.Object)
	}
	slices.Sort(names)
	if want := []string{"extension ours", "function public.twice(public.pair)", "sequence public.serials_id_seq", "table public.config", "table public.needs", "table public.serials", "table public.whole", "view public.late"}; !slices.Equal(names, want) {
		t.Errorf("not proven: %q, want %q", names, want)
	}
	if !errors.Is(err, capstan.ErrIncomplete) || s.Status != pgdrill.Partial || s.Tables != 1 || s.Rows != 100 || len(s.Differences)+len(s.Problems) != 0 {
		t.Errorf("%v\n%+v", err, s)
	}
	f.clean()
	// What is left is still compared.
	f.step = func(ctx context.Context, name, url string) {
		if name == "compare" {
			exec(ctx, t, url, "delete from fine where n = 7")
		}
	}
	f.differs(f.options(), "table public.fine", "restored")
	f.step = nil
	if s, err := f.drill(t.Context(), pgdrill.Options{Dir: f.dir, Server: pgtest.New(t, pgtest.Options{Major: 18, Memory: true}).URL("postgres"), PgRestore: pgtest.Client(t, 18, "pg_restore")}); err == nil || s.Status != pgdrill.Failed {
		t.Errorf("of a server that does not run: %v %+v", err, s)
	}
}

// A drill that is cancelled at any of its steps proves nothing, says who cancelled it,
// and leaves nothing; nor does one whose server is killed as it begins to compare.
func TestEndsAtEachStep(t *testing.T) {
	t.Parallel()
	f := newField(t, 17)
	f.small()
	reason := errors.New("the test's own reason")
	for _, step := range []string{"files", "server", "restore", "compare"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		reached := false
		f.step = func(_ context.Context, name, _ string) {
			if name == step {
				reached = true
				cancel(reason)
			}
		}
		s, err := f.drill(ctx, f.options())
		if !reached || !errors.Is(err, reason) || s.Status != pgdrill.Failed {
			t.Errorf("%s: %v\n%+v", step, err, s)
		}
		if pids := serversIn(t, f.scratch); len(pids) > 0 {
			t.Errorf("%s: servers %v are left", step, pids)
		}
		f.clean()
		cancel(nil)
	}
	f.step = func(_ context.Context, name, _ string) {
		if name == "compare" {
			for _, pid := range serversIn(t, f.scratch) {
				signal(t, pid, syscall.SIGKILL)
			}
		}
	}
	s, err := f.drill(t.Context(), f.options())
	if err == nil || errors.Is(err, capstan.ErrIncomplete) || s.Status != pgdrill.Failed || !strings.Contains(err.Error(), "scratch server") {
		t.Errorf("%v\n%+v", err, s)
	}
	f.clean()
}
