package postgres_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/source/postgres"
)

// sqlOf is a dump as SQL, by the stock pg_restore, without the key that is another each
// time.
func (f *field) sqlOf(dir string) string {
	f.t.Helper()
	var kept []string
	for line := range strings.Lines(f.client("pg_restore", "--file=-", dir)) {
		if !strings.HasPrefix(line, `\restrict `) && !strings.HasPrefix(line, `\unrestrict `) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// The rows of foreign tables are dumped when their server is named, by the foreign
// server's own connection, exactly as the stock pg_dump does; else their definition alone.
func TestForeignData(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.Exec("create database far")
		f.sql("far", "create table items (n int, t text); insert into items select n, 'far ' || n from generate_series(1, 1000) n; create table other (n int); insert into other values (7)")
		server := func(name string) string {
			return "create server " + name + " foreign data wrapper postgres_fdw options (host '" + f.Socket + "', port '5432', dbname 'far'); create user mapping for postgres server " + name + " options (user 'postgres', password_required 'false');"
		}
		f.sql("app", recipe+"create extension postgres_fdw;"+server("east")+server("west")+
			`create foreign table "Far Items" (n int, t text) server east options (table_name 'items');
			create foreign table far_other (n int) server west options (table_name 'other');
			create table list (n int) partition by list (n); create table list_1 partition of list for values in (1); insert into list values (1);
			create foreign table list_far partition of list for values in (7) server west options (table_name 'other');`)
		rows := func(s postgres.Summary) (all int64) {
			for _, table := range s.Receipt.Tables {
				if strings.Contains(table.Table, "ar") { // the foreign ones
					all += table.Rows
				}
			}
			return all
		}
		for _, test := range []struct {
			servers []string
			rows    int64
		}{{nil, 0}, {[]string{"east"}, 1000}, {[]string{"*"}, 1002}} {
			o := f.options()
			o.IncludeForeignData = test.servers
			dir, s := f.dump(o)
			args := []string{}
			for _, server := range test.servers {
				args = append(args, "--include-foreign-data="+server)
			}
			if got := rows(s); got != test.rows {
				t.Errorf("%v: %d foreign rows, want %d", test.servers, got, test.rows)
			}
			stock := filepath.Join(t.TempDir(), "stock")
			f.client("pg_dump", append(args, "-Fd", "-Z0", "-f", stock, f.URL("app"))...)
			same(t, strings.Join(args, " "), dated(f.sqlOf(dir)), dated(f.sqlOf(stock)))
		}
		// A foreign server that does not answer is named.
		f.sql("app", "alter server west options (set port '1')")
		o := f.options()
		o.IncludeForeignData = []string{"west"}
		dir := filepath.Join(t.TempDir(), "dump")
		_, err := postgres.Dump(t.Context(), f.env(), o, dir)
		if err == nil || !strings.Contains(err.Error(), "far_other") && !strings.Contains(err.Error(), "list_far") || !strings.Contains(err.Error(), `could not connect to server "west"`) {
			t.Errorf("%v", err)
		}
		f.gone(dir)
		o.IncludeForeignData = []string{"nowhere"}
		if _, err := postgres.Dump(t.Context(), f.env(), o, dir); err == nil || !strings.Contains(err.Error(), "no matching foreign servers") {
			t.Errorf("%v", errors.Join(err))
		}
		f.gone(dir)
	})
}

// dated takes out what says which pg_dump wrote it, and when.
func dated(sql string) string {
	var kept []string
	for line := range strings.Lines(sql) {
		if !strings.HasPrefix(line, "-- Started on") && !strings.HasPrefix(line, "-- Completed on") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
