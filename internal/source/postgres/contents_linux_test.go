package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/pg"
	"capstan/internal/pgproxy"
)

// The statements that are known from the table of contents are those that pg_dump then
// sends: of every kind of object, and of many tables.
func TestStatementsAreDeduced(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.New(t, pgtest.Options{Major: major, Memory: true})
			s.Start()
			for _, since := range []string{"objects", "objects_13", "objects_15", "objects_18"}[:map[int]int{15: 3, 17: 3, 18: 4}[major]] {
				script, err := os.ReadFile(filepath.Join("testdata", since+".sql"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Conn("postgres").PgConn().Exec(t.Context(), string(script)).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			s.Exec("create table nothing ()", `create table "Odd, (""name""" ("a, ""b" int, "Select" int generated always as (1) stored, c int, d int)`, `alter table "Odd, (""name""" drop c`)

			client, err := pg.ClientAt(t.Context(), pgtest.Client(t, major, "pg_dump"))
			if err != nil {
				t.Fatal(err)
			}
			d := &dump{env: Env{Disk: disk.FS{}}, client: client, user: "postgres", database: "postgres"}
			conn := s.Conn("postgres").PgConn()
			dir := filepath.Join(t.TempDir(), "dump")
			var tables []*table
			var deduced *contents
			seen, err := d.runPgDump(t.Context(), pgproxy.Session{
				Conn: conn,
				Admit: func(locks []string) (err error) {
					tables, err = describe(t.Context(), s.Conn("postgres").PgConn(), locks)
					return err
				},
				Copying: func(first pgproxy.Copy) (err error) {
					deduced, err = d.deduce(dir, tables, first)
					return err
				},
			}, dir)
			if err != nil {
				t.Fatal(err)
			}
			told, err := d.told(dir, seen.Copies)
			if err != nil {
				t.Fatal(err)
			}
			if len(told.data) < 10 || len(told.large) == 0 || !reflect.DeepEqual(deduced, told) {
				t.Errorf("deduced:\n%+v\nsaid:\n%+v", deduced, told)
			}
			// pg_dump's first statement is another than the one that is expected, or it is one
			// that nobody knows: it says itself what it reads.
			if _, err := d.deduce(dir, tables, pgproxy.Copy{SQL: "COPY t TO stdout"}); !errors.Is(err, errUnsure) {
				t.Errorf("another first statement: %v", err)
			}
			d.client.Version.Major = newestKnown + 1
			if _, err := d.deduce(dir, tables, seen.Copies[0]); !errors.Is(err, errUnsure) {
				t.Errorf("an unknown pg_dump: %v", err)
			}
		})
	}
}
