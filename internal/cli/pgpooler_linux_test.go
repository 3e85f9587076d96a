package cli_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"capstan/internal/capstantest/pgtest"
)

// A pooler that gives each transaction another server is refused, however it chooses
// them, before anything is set in the sessions of others; one that gives each client a
// server is dumped and restored through, and one that has too few says so.
func TestPgPooler(t *testing.T) {
	t.Parallel()
	f := newField(t)
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	s.Exec("create table t (n int)", "insert into t select generate_series(1, 100)", "create database copy")
	url := func(port int, database string) string {
		return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s", port, database)
	}
	dump := filepath.Join(t.TempDir(), "dump")
	f.exits(0, []string{"pg", "dump", s.URL("postgres"), "-o", dump})

	for _, mode := range [][]string{
		{"pool_mode = transaction"},
		{"pool_mode = transaction", "server_round_robin = 1", "min_pool_size = 5"},
		{"pool_mode = transaction", "server_round_robin = 1", "default_pool_size = 1"},
		{"pool_mode = statement"},
	} {
		port := s.Pooler(mode...)
		other, err := pgx.ParseConfig(url(port, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		other.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // PgBouncer keeps no prepared statements
		conn, err := pgx.ConnectConfig(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		for _, args := range [][]string{
			{"pg", "dump", url(port, "postgres"), "-o", filepath.Join(t.TempDir(), "none")},
			{"pg", "restore", dump, "--to", url(port, "copy")},
			{"pg", "restore", dump, "--to", url(port, "new"), "--create"},
		} {
			f.exits(4, args, "a pooler is between, in transaction mode", "connect to the server itself")
		}
		f.exits(0, []string{"pg", "locks", url(port, "postgres")})
		// No session of the pool has kept anything of ours.
		for range 20 {
			var path, timeout string
			if err := conn.QueryRow(t.Context(), "select current_setting('search_path'), current_setting('statement_timeout')").Scan(&path, &timeout); err != nil {
				t.Fatal(err)
			}
			if path != `"$user", public` || timeout != "0" {
				t.Errorf("%v: search_path %q, statement_timeout %q for others", mode, path, timeout)
			}
		}
	}

	port := s.Pooler("pool_mode = session")
	through := filepath.Join(t.TempDir(), "through")
	f.exits(0, []string{"pg", "dump", url(port, "postgres"), "-o", through, "--jobs", "3"})
	f.exits(0, []string{"pg", "restore", through, "--to", url(port, "copied"), "--create", "--jobs", "2"})
	if n := rowsOf(t, s, "copied"); n != 100 {
		t.Errorf("%d rows came back", n)
	}

	port = s.Pooler("pool_mode = session", "default_pool_size = 1", "query_wait_timeout = 2")
	f.exits(1, []string{"pg", "dump", url(port, "postgres"), "-o", filepath.Join(t.TempDir(), "none")}, "query_wait_timeout")
}

// rowsOf counts the rows of table t.
func rowsOf(t *testing.T, s *pgtest.Server, database string) (n int) {
	t.Helper()
	if err := s.Conn(database).QueryRow(t.Context(), "select count(*) from t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
