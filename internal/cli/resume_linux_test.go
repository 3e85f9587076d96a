package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// resumeStart makes a tree of some ninety random files in four directories.
const resumeStart = `
mkdir -p a/deep b c d
for d in a a/deep b c; do for n in $(seq 0 21); do head -c 200000 /dev/urandom > $d/f$n; done; done
ln -s nowhere c/link; echo plain > d/plain
`

// killed starts a backup of the field's tree and kills it when so many archives are
// sealed and the next one is to be.
func (f *field) killed(sealed int, args ...string) {
	f.t.Helper()
	rule := slowfs.Rule{Op: slowfs.Rename, Name: "backup_*", After: sealed}
	if killed, e := f.killedAt(f.slowly(f.vol), rule, (*exec.Cmd).Start, args...); !killed {
		f.t.Fatalf("it ended before: exit %d\n%s", e.code, e.err)
	}
}

// TestResumeAfterChanges kills a backup, changes what it has stored already, and
// calls it again: the set is the tree as it is then, also for stock tools.
func TestResumeAfterChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  string
		flags   []string
		without string // what the changed flags leave out
	}{
		"nothing":           {change: ":"},
		"a file is deleted": {change: "rm a/f1 a/deep/f3"},
		"a directory goes":  {change: "rm -r a"},
		"it is renamed":     {change: "mv a e"},
		"dir to file":       {change: "rm -r a; echo file > a"},
		"dir to link":       {change: "rm -r a; ln -s b a"},
		"file to dir":       {change: "rm a/f1; mkdir a/f1; echo in > a/f1/in"},
		"a file is changed": {change: "echo more >> a/f1; chmod 600 a/f2"},
		"now excluded":      {change: ":", flags: []string{"--exclude", "/a/f1"}, without: "a/f1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			f := &field{t: t, dir: dir, data: filepath.Join(dir, "data"), vol: filepath.Join(dir, "vol")}
			if err := os.Mkdir(f.data, 0o755); err != nil {
				t.Fatal(err)
			}
			f.shell(f.data, resumeStart)
			args := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}
			f.killed(3, args...)
			f.shell(f.data, c.change)
			f.run(append(args, c.flags...)...)
			set := f.onlySet()
			if set.Status != "complete" {
				t.Errorf("the set is %s", set.Status)
			}
			options := []capstantest.Option{capstantest.IgnoreTimes()}
			if c.without != "" {
				options = append(options, capstantest.Skip(func(path string) bool { return path == c.without }))
			}
			back := filepath.Join(dir, "back")
			f.run("restore", "latest", "--to", back)
			capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"), options...)
			stock := filepath.Join(dir, "stock")
			stockRestore(t, latestSet(t, f.vol), stock)
			capstantest.CompareTrees(t, f.data, filepath.Join(stock, "data"), options...)
			for _, root := range []string{back, stock} {
				if _, err := os.Lstat(filepath.Join(root, "data", c.without)); c.without != "" && err == nil {
					t.Errorf("%s came back in %s", c.without, root)
				}
			}
			f.run("verify", "--read-data")
			f.run("catalog", "check")
		})
	}
}

// TestLostCatalog loses the catalog in every way and goes on: finished sets on the
// volume are never taken for unfinished ones of the new catalog.
func TestLostCatalog(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]string{
		"removed":              "rm home/catalog.db*",
		"emptied":              "rm -f home/catalog.db-*; : > home/catalog.db",
		"an older copy of it":  "rm -r home; cp -a before home",
		"another with its key": "rm home/catalog.db*; cp -a home clone",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			f.fill(30)
			other := filepath.Join(f.dir, "other")
			f.shell(f.dir, "mkdir other; echo other > other/file")
			f.run("sets")
			f.shell(f.dir, "cp -a home before")
			f.run("backup", f.data, "--to", f.vol)
			f.shell(f.dir, lose)
			for range 3 {
				f.try("backup", other, "--to", f.vol) // whatever it says, the first set stays
			}
			f.run("--home", "fresh", "catalog", "rebuild", f.vol)
			sets, err := filepath.Glob(filepath.Join(f.vol, "20*_*1"))
			if err != nil || len(sets) != 1 {
				t.Fatalf("first set: %v, %v", sets, err)
			}
			f.run("--home", "fresh", "restore", filepath.Base(sets[0]), "--to", "back")
			f.shell(f.dir, "diff -r data back/data")
			if out := f.run("--home", "fresh", "verify", "--read-data"); !strings.Contains(out, "all is well") {
				t.Errorf("verify: %s", out)
			}
		})
	}
}
