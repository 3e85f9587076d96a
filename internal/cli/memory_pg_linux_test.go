//go:build !race

package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// TestMemoryOfDump dumps a table of 320 MB, which two sessions read together, and one
// of which a single row is 128 MB, within 64 MiB, those of pg_dump included. All of it
// comes back. A small --memory cuts the sessions that were asked for, and what they take.
func TestMemoryOfDump(t *testing.T) {
	f := newField(t)
	mountTmpfs(t, f.dir, "size=2g")
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15, Conf: []string{"wal_level = minimal", "max_wal_senders = 0", "max_wal_size = 4GB"}})
	s.Start()
	conn := s.Conn("postgres")
	for _, sql := range []string{
		"create database copy",
		"begin; create table large (n int, t text); alter table large alter t set storage plain",
		"insert into large select n, repeat(md5(n::text), 200) from generate_series(1, 50000) n; commit",
		"create table long (n int, t text); alter table long alter t set storage external",
		"insert into long select n, repeat((select string_agg(md5(i::text), '') from generate_series(1, 2000) i), n) from (values (1), (2000), (3)) v(n)",
	} {
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(f.dir, "dump")
	f.stays(64*mib, "pg", "dump", s.URL("postgres"), "-o", dir, "--jobs", "2")
	small := filepath.Join(f.dir, "small")
	f.stays(56*mib, "pg", "dump", s.URL("postgres"), "-o", small, "--jobs", "16", "--memory", "8MiB")
	var receipt struct {
		Jobs int
		Why  string `json:"jobs_because"`
	}
	text, err := os.ReadFile(filepath.Join(small, "capstan-receipt.json"))
	if err != nil || json.Unmarshal(text, &receipt) != nil || receipt.Jobs != 1 || !strings.Contains(receipt.Why, "--memory") {
		t.Errorf("%+v, %v", receipt, err)
	}
	f.exits(2, []string{"pg", "dump", s.URL("postgres"), "-o", small + "2", "--memory", "1KiB"}, "8MiB")
	if out, err := exec.CommandContext(t.Context(), pgtest.Client(t, 15, "pg_restore"), "--exit-on-error", "-j2", "-d", s.URL("copy"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const content = "select (select count(*) || md5(string_agg(md5(t), '' order by n)) from large), (select string_agg(length(t) || md5(t), ' ' order by n) from long)"
	var want, got [2]string
	for database, to := range map[string]*[2]string{"postgres": &want, "copy": &got} {
		if err := s.Conn(database).QueryRow(t.Context(), content).Scan(&to[0], &to[1]); err != nil {
			t.Fatal(err)
		}
	}
	if got != want {
		t.Errorf("%v came back as %v", want, got)
	}
}
