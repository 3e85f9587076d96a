package cli_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/capstantest/slowfs"
)

// generation fills tables anew: each holds one generation only, and other tables than
// the last one did.
func generation(t *testing.T, s *pgtest.Server, database string, tables, number int) {
	t.Helper()
	var sql strings.Builder
	for i := range tables {
		if number > 0 {
			fmt.Fprintf(&sql, "DROP TABLE g%d;", i+number-1) // its last generation
		}
	}
	for i := range tables {
		fmt.Fprintf(&sql, "CREATE TABLE g%d (gen int, what text); INSERT INTO g%[1]d SELECT %[2]d, md5((n * %[1]d + %[2]d)::text) FROM generate_series(1, 15000) n;", i+number, number)
	}
	if _, err := s.Conn(database).PgConn().Exec(t.Context(), sql.String()).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// paths lists the files below a directory, with slashes.
func paths(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			all = append(all, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// wholeDump expects that the stock tools bring back, out of a set's archives, the
// database as it is, and nothing else: no file of an earlier dump.
func (f *field) wholeDump(s *pgtest.Server, database, archives string) {
	f.t.Helper()
	dir := unpacked(f.t, archives)
	var listed []string
	for line := range strings.Lines(f.run("ls", "latest", "-r")) {
		if fields := strings.Fields(line); len(fields) > 0 {
			listed = append(listed, fields[len(fields)-1])
		}
	}
	for _, path := range paths(f.t, dir) {
		if !slices.Contains(listed, path) {
			f.t.Errorf("%s is in an archive and not in the set", path)
		}
	}
	f.once(f.onlySet().Set)
	list := exec.CommandContext(f.t.Context(), "sh", "-c", `for a in backup_*.tar*; do tar -tf "$a" || exit 1; done | grep "^$1/" | sort | uniq -d`, "sh", database)
	list.Dir = archives
	if twice, err := list.CombinedOutput(); err != nil || len(twice) > 0 {
		f.t.Errorf("more than once in the archives: %s, %v", twice, err)
	}
	copied := "copy_of_" + database
	pgRestored(f.t, s, filepath.Join(dir, database), copied)
	sameText(f.t, plain(f.t, s, copied), plain(f.t, s, database))
	s.Exec("DROP DATABASE " + copied)
}

// A backup of a database and a tree is killed at several moments; then everything in
// the database changes, and a file goes. The next call makes a set of what is there
// now: nothing of the first dump is in it, in the catalog or in an archive.
func TestPgBackupKilled(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 15, Memory: true})
	s.Start()
	for name, c := range map[string]struct {
		at     string // the mount: vol or stage
		rule   slowfs.Rule
		tables int
	}{
		"begin":    {"vol", slowfs.Rule{Op: slowfs.Create, Name: "backup_*"}, 8},
		"spool":    {"stage", slowfs.Rule{Op: slowfs.Write, Name: "*.dat.*", After: 3}, 8},
		"tables":   {"stage", slowfs.Rule{Op: slowfs.Rename, Name: "toc.dat"}, 8},
		"archive":  {"vol", slowfs.Rule{Op: slowfs.Rename, Name: "backup_*_0004*"}, 8},
		"archived": {"vol", slowfs.Rule{Op: slowfs.Rename, Name: "backup_*_0004*", Late: true}, 8},
		// The files of both dumps have the same names, and come in the order of these.
		"alone":  {"vol", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS"}, 1},
		"finish": {"vol", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS"}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			database := "kill_" + name
			s.Exec("CREATE DATABASE " + database)
			generation(t, s, database, c.tables, 0)
			fill := exec.CommandContext(t.Context(), "sh", "-c", `mkdir data && cd data && for n in $(seq 1 30); do head -c 100000 /dev/urandom > f$n; done`)
			fill.Dir = f.dir
			if out, err := fill.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			stage := filepath.Join(f.dir, "home", "stage")
			mounts := map[string]*slowfs.Mount{"vol": f.slowly(f.vol)}
			if c.at == "stage" {
				if err := os.MkdirAll(filepath.Dir(stage), 0o700); err != nil {
					t.Fatal(err)
				}
				mounts["stage"] = f.slowly(stage)
			}
			args := []string{"backup", f.data, s.URL(database), "--to", f.vol, "--archive-size", "1MiB", "--jobs", "2"}
			if killed, e := f.killedAt(mounts[c.at], c.rule, (*exec.Cmd).Start, args...); !killed {
				t.Fatalf("it ended before: exit %d\n%s", e.code, e.err)
			}
			pgtest.Eventually(t, verdict, func() (bool, string) {
				return s.Text("select count(*) from pg_stat_activity where application_name = 'capstan' and datname = '"+database+"'") == "0", "its sessions end"
			})
			generation(t, s, database, c.tables, 1)
			if err := os.Remove(filepath.Join(f.data, "f10")); err != nil {
				t.Fatal(err)
			}
			e := f.exits(0, args)
			if name != "begin" && !strings.Contains(e.err, "resuming set") {
				t.Errorf("it was not resumed:\n%s", e.err)
			}
			set := f.onlySet()
			f.wholeDump(s, database, filepath.Join(f.vol, set.Set))
			back := t.TempDir()
			f.run("restore", "latest", "data", "--to", back)
			capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
			f.run("verify", "--read-data")
			if left, err := os.ReadDir(filepath.Join(stage, "spool")); err != nil || len(left) > 0 {
				t.Errorf("left in the spool: %v, %v", left, err)
			}
		})
	}
}
