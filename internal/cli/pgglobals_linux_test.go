package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// A set's roles come before its database, on a server that has none of them: owners and
// rights are those of the source, and the password too, which nobody is told. So do those
// of a directory; where there are none, nothing is changed.
func TestPgRestoreGlobals(t *testing.T) {
	t.Parallel()
	f := newField(t)
	from, to := pgtest.New(t, pgtest.Options{Major: 15, Memory: true}), pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	from.Start()
	to.Start()
	from.Exec(`CREATE ROLE "the ""clerk""" LOGIN PASSWORD 'hidden'`, `CREATE DATABASE app OWNER "the ""clerk"""`, "CREATE DATABASE lone")
	conn := from.Conn("app")
	if _, err := conn.Exec(t.Context(), `CREATE TABLE t (n int); ALTER TABLE t OWNER TO "the ""clerk"""; GRANT SELECT ON t TO PUBLIC`); err != nil {
		t.Fatal(err)
	}
	f.exits(0, []string{"backup", from.URL("postgres"), "--all-databases", "--to", f.vol})
	set := f.onlySet().Set
	hash := from.Text("SELECT rolpassword FROM pg_authid WHERE rolname LIKE '%clerk%'")
	quiet := func(e ended) ended {
		t.Helper()
		if strings.Contains(e.out+e.err, "SCRAM") || strings.Contains(e.out+e.err, hash) {
			t.Errorf("a password is told: %s%s", e.out, e.err)
		}
		return e
	}

	var summary struct {
		Type    string
		Tables  int
		Globals struct{ Made, There []string }
	}
	restore := []string{"pg", "restore", set, "--database", "app", "--to", to.URL("app"), "--create"}
	object(t, quiet(f.exits(0, append(restore, "--globals", "--json"))), &summary)
	if summary.Type != "summary" || summary.Tables != 1 || len(summary.Globals.Made) != 1 || summary.Globals.Made[0] != `role the "clerk"` || len(summary.Globals.There) != 1 {
		t.Errorf("%+v", summary)
	}
	sameText(t, plain(t, to, "app"), plain(t, from, "app"))
	if got := to.Text("SELECT rolpassword FROM pg_authid WHERE rolname LIKE '%clerk%'"); got != hash {
		t.Error("the password is another one")
	}
	f.exits(0, []string{"pg", "restore", set, "--database", "app", "--to", to.URL("app"), "--globals-only"})

	dir := unpacked(t, filepath.Join(f.vol, set))
	top, err := os.ReadDir(dir)
	if err != nil || len(top) != 1 {
		t.Fatal(top, err)
	}
	lone := []string{"pg", "restore", filepath.Join(dir, top[0].Name(), "lone"), "--to", to.URL("lone"), "--create", "--globals"}
	to.Exec(`ALTER ROLE "the ""clerk""" SUPERUSER`)
	if e := quiet(f.exits(3, lone)); !strings.Contains(e.out, `role the "clerk": it is there and was left as it is: superuser is true, in the dump false`) || !strings.Contains(e.out, "database lone") {
		t.Errorf("%s%s", e.out, e.err)
	}
	if err := os.Remove(filepath.Join(dir, top[0].Name(), "globals.sql")); err != nil {
		t.Fatal(err)
	}
	to.Exec("DROP DATABASE lone")
	f.exits(10, lone, "globals.sql", "without --globals")
	if n := to.Text("SELECT count(*) FROM pg_database WHERE datname = 'lone'"); n != "0" {
		t.Error("the database was made")
	}
	f.exits(0, []string{"backup", from.URL("lone"), "--to", f.vol})
	f.exits(10, []string{"pg", "restore", "latest", "--to", to.URL("lone"), "--create", "--globals"}, "globals.sql", "--globals")
}
