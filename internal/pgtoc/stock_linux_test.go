package pgtoc

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// stock runs a program to its end and gives what it printed.
func stock(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// What each pg_dump writes of servers of every version, with every compression that
// it has, comes back byte for byte.
func TestStockDumps(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.New(t, pgtest.Options{Major: major, Memory: true})
			s.Start()
			s.Exec("create table t (n int primary key, o text)", "insert into t values (1, 'one')", "create view v as select * from t",
				"select lo_from_bytea(0, 'large')", "create sequence s", "create materialized view m as select 1 as one")
			for _, dumper := range []int{15, 17, 18} {
				if dumper < major {
					continue
				}
				dir := filepath.Join(t.TempDir(), fmt.Sprint(dumper))
				stock(t, pgtest.Client(t, dumper, "pg_dump"), "-Fd", "-f", dir, s.URL("postgres"))
				data, err := os.ReadFile(filepath.Join(dir, "toc.dat"))
				if err != nil {
					t.Fatal(err)
				}
				a := parse(t, data)
				if !bytes.Equal(a.Append(nil), data) {
					t.Errorf("pg_dump %d of server %d: what is written is not what was read", dumper, major)
				}
				data0 := 0
				for file := range a.ByFile() {
					if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
						if _, err := os.Stat(filepath.Join(dir, file+".gz")); err != nil {
							t.Error(err)
						}
					}
					data0++
				}
				if data0 != 2 { // the table, the large objects
					t.Errorf("pg_dump %d of server %d: %d entries with files", dumper, major, data0)
				}
			}
		})
	}
}

// pg_restore lists what we have written as what it wrote itself; also in the version
// of pg_dump 16, of which there is none here, made from that of 17.
func TestStockReaders(t *testing.T) {
	t.Parallel()
	for name, data := range golden(t) {
		for _, reader := range []int{15, 17, 18} {
			if reader == 15 && name != "15.toc" {
				continue // it does not read newer files
			}
			for _, minor := range []byte{0, 15} {
				if minor == 15 && (reader == 15 || name == "15.toc") {
					continue
				}
				a := parse(t, data)
				a.Compress(CompressionZstd)
				if reader == 15 {
					a.Compress(CompressionGzip)
				}
				if minor != 0 {
					a.Version.Minor = minor
				}
				dirs := [2]string{t.TempDir(), t.TempDir()}
				for i, content := range [][]byte{data, a.Append(nil)} {
					if err := os.WriteFile(filepath.Join(dirs[i], "toc.dat"), content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, got := list(t, reader, dirs[0]), list(t, reader, dirs[1])
				if got != want || strings.Count(got, "\n") < 50 {
					t.Errorf("pg_restore %d lists %s (minor %d) as\n%s\nwant\n%s", reader, name, minor, got, want)
				}
			}
		}
	}
}

// list is what pg_restore says of the entries, without the header.
func list(t *testing.T, major int, dir string) string {
	t.Helper()
	var entries []string
	for line := range strings.Lines(stock(t, pgtest.Client(t, major, "pg_restore"), "-l", dir)) {
		if !strings.HasPrefix(line, ";") {
			entries = append(entries, line)
		}
	}
	return strings.Join(entries, "")
}
