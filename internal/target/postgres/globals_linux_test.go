package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/progress"
	"capstan/internal/target/postgres"
)

// cluster is a server whose roles are dumped or restored.
type cluster struct {
	*pgtest.Server
	t     *testing.T
	major int
}

func newCluster(t *testing.T, major int) *cluster {
	t.Helper()
	c := &cluster{Server: pgtest.New(t, pgtest.Options{Major: major, Memory: true}), t: t, major: major}
	c.Start()
	return c
}

// script is what pg_dumpall says of the server's roles.
func (c *cluster) script() string {
	c.t.Helper()
	out, err := exec.CommandContext(c.t.Context(), pgtest.Client(c.t, c.major, "pg_dumpall"), "--globals-only", "--dbname="+c.DSN("postgres")).Output()
	if err != nil {
		c.t.Fatal(err)
	}
	return volatile.ReplaceAllString(string(out), "")
}

func (c *cluster) restore(content string, options postgres.GlobalsOptions) (postgres.GlobalsSummary, error) {
	c.t.Helper()
	options.Content, options.Name = []byte(content), "globals.sql"
	if options.URL == "" {
		options.URL = c.URL("postgres")
	}
	return postgres.Globals(c.t.Context(), postgres.Env{Disk: disk.FS{}, Tracker: progress.New(nil), Say: c.t.Logf, Warn: c.t.Logf}, options)
}

// Roles of every kind, with their passwords, settings, memberships and comments, and a
// tablespace, are the same on another server, byte for byte of what pg_dumpall says; a
// second restore changes nothing; what differs is named and left; no password is logged.
func TestGlobals(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			from, to := newCluster(t, major), newCluster(t, major)
			place := t.TempDir()
			if cred := pgtest.Credential(t); cred != nil {
				if err := errors.Join(os.Chown(place, int(cred.Uid), int(cred.Gid)), os.Chmod(place, 0o700)); err != nil {
					t.Fatal(err)
				}
				for dir := place; dir != "/tmp" && dir != "/"; dir = dir[:strings.LastIndex(dir, "/")] {
					_ = os.Chmod(dir, 0o711) //nolint:gosec // the server has to get there
				}
			}
			long := strings.Repeat("ä", 31) + "%"
			from.Exec("CREATE ROLE clerk LOGIN PASSWORD 'hidden' CONNECTION LIMIT 7 VALID UNTIL '2031-01-01 00:00:00+00'", `CREATE ROLE "Odd ""one"" 'x' \; -- %s" NOINHERIT CREATEDB`,
				`CREATE ROLE "`+long+`" NOLOGIN`, "CREATE ROLE \"line\nend\" REPLICATION BYPASSRLS", `CREATE ROLE "SELECT" SUPERUSER LOGIN`,
				`GRANT clerk TO "`+long+`" WITH ADMIN OPTION`, `GRANT "`+long+`" TO "line`+"\n"+`end"`,
				`ALTER ROLE clerk SET search_path = "$user", 'odd;one', public`, `ALTER ROLE "`+long+`" SET application_name = E'a''b;\nc\\'`,
				`COMMENT ON ROLE clerk IS 'it''s; -- "a" comment'`, "GRANT SET ON PARAMETER work_mem TO clerk", "ALTER ROLE postgres SET work_mem = '7MB'",
				"CREATE TABLESPACE \"fa;st\" OWNER clerk LOCATION '"+place+"'", `COMMENT ON TABLESPACE "fa;st" IS 'quick'`, `GRANT CREATE ON TABLESPACE "fa;st" TO PUBLIC`)
			script := from.script()
			if !strings.Contains(script, "SCRAM-SHA-256$") {
				t.Fatal(script)
			}
			from.Exec(`DROP TABLESPACE "fa;st"`)
			to.Exec("ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM SET log_min_duration_statement = 0", "SELECT pg_reload_conf()")
			pgtest.Eventually(t, time.Minute, func() (bool, string) { return to.Text("SHOW log_statement") == "all", "it logs all" })

			s, err := to.restore(script, postgres.GlobalsOptions{})
			if err != nil || len(s.Made) != 6 || len(s.There) != 1 || len(s.Notes) != 1 || !strings.Contains(fmt.Sprint(s.Notes), "role postgres") {
				t.Fatalf("%+v, %v", s, err)
			}
			to.Exec("ALTER ROLE postgres SET work_mem = '7MB'") // it is left as it is
			if got := to.script(); got != script {
				t.Errorf("restored:\n%s\nwant:\n%s", got, script)
			}
			if s, err = to.restore(script, postgres.GlobalsOptions{}); err != nil || len(s.Made) > 0 || len(s.There) != 7 || len(s.Notes) > 0 {
				t.Errorf("again: %+v, %v", s, err)
			}

			to.Exec("ALTER ROLE clerk NOLOGIN PASSWORD 'other'", `DROP ROLE "SELECT"`, "ALTER ROLE clerk RESET ALL")
			s, err = to.restore(script, postgres.GlobalsOptions{})
			if !errors.Is(err, capstan.ErrIncomplete) || len(s.Differ) != 1 || !slices.Equal(s.Made, []string{"role SELECT"}) {
				t.Fatalf("%+v, %v", s, err)
			}
			for _, word := range []string{"another password", "login is false, in the dump true", "settings is []"} {
				if !strings.Contains(s.Differ[0].Err, word) {
					t.Errorf("%q does not say %q", s.Differ[0].Err, word)
				}
			}
			if got := to.Text("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clerk'"); got != "false" && got != "f" {
				t.Errorf("clerk may log in: %s", got)
			}
			log, err := os.ReadFile(to.Log)
			if err != nil || strings.Contains(string(log), "SCRAM") || !strings.Contains(string(log), "rolcanlogin") {
				t.Errorf("the server's log has a password, or nothing (%v)", err)
			}
		})
	}
}

// What cannot be made is named and leaves nothing half; a script that was cut changes
// nothing; who is in the way ends it after a while; a role that is no superuser makes what
// it may.
func TestGlobalsTrouble(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 17)
	script := func(lines ...string) string {
		return "SET client_encoding = 'UTF8';\n" + strings.Join(lines, "\n") + "\n-- PostgreSQL database cluster dump complete\n"
	}
	if _, err := c.restore("CREATE ROLE half;\nALTER ROLE half WI", postgres.GlobalsOptions{}); !errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("cut: %v", err)
	}
	if n := c.Text("SELECT count(*) FROM pg_roles WHERE rolname = 'half'"); n != "0" {
		t.Errorf("half a script has made %s roles", n)
	}
	s, err := c.restore(script("CREATE ROLE a;", "ALTER ROLE a WITH LOGIN;", "ALTER ROLE a SET no_such.one TO '1';", "ALTER ROLE a SET work_mem TO 'nonsense';", "CREATE ROLE b;", "ALTER ROLE b WITH NOLOGIN;",
		"GRANT b TO a;", "GRANT b TO postgres GRANTED BY gone;", "CREATE TABLESPACE far OWNER postgres LOCATION '/nowhere/at/all';"), postgres.GlobalsOptions{})
	if !errors.Is(err, capstan.ErrIncomplete) || !slices.Equal(s.Made, []string{"role b"}) || len(s.Problems) != 3 || len(s.Notes) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	for i, want := range []string{"role a", "GRANT b TO a", "tablespace far"} {
		if s.Problems[i].Object != want || s.Problems[i].Err == "" {
			t.Errorf("problem %+v, want one of %s", s.Problems[i], want)
		}
	}
	if n := c.Text("SELECT count(*) FROM pg_roles WHERE rolname = 'a'"); n != "0" {
		t.Error("half a role is there")
	}

	c.Exec("CREATE ROLE maker LOGIN CREATEROLE CREATEDB")
	maker := fmt.Sprintf("host=%s port=%d user=maker dbname=postgres", c.Socket, c.Port)
	s, err = c.restore(script("CREATE ROLE plain;", "ALTER ROLE plain WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:AAAA$AAAA:AAAA';",
		"CREATE ROLE chief;", "ALTER ROLE chief WITH SUPERUSER;", "CREATE ROLE b;", "ALTER ROLE b WITH SUPERUSER;"), postgres.GlobalsOptions{URL: maker})
	if !errors.Is(err, capstan.ErrIncomplete) || !slices.Equal(s.Made, []string{"role plain"}) || len(s.Problems) != 1 || s.Problems[0].Object != "role chief" || len(s.Notes) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if strings.Contains(fmt.Sprintf("%+v %v", s, err), "SCRAM") {
		t.Error("a password was told")
	}

	holder := c.Conn("postgres")
	if _, err := holder.Exec(t.Context(), "BEGIN; LOCK TABLE pg_authid IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	_, err = c.restore(script("CREATE ROLE late;", "ALTER ROLE late WITH LOGIN;"), postgres.GlobalsOptions{StallFail: time.Second})
	if err == nil || !strings.Contains(err.Error(), "role late") || !strings.Contains(err.Error(), "waiting for server") {
		t.Errorf("behind a lock: %v", err)
	}
	if _, err := holder.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if n := c.Text("SELECT count(*) FROM pg_roles WHERE rolname = 'late'"); n != "0" {
		t.Error("it was made after its end")
	}
}
