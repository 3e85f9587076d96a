package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// TestConsolidateChain makes full sets of every link of a chain of all kinds of changes,
// in each mode: each restores the tree of its time, by restore and by stock tools that
// follow RESTORE.txt.
func TestConsolidateChain(t *testing.T) {
	t.Parallel()
	codecs := []string{"zstd", "gzip", "none"}
	for _, mode := range []string{"--incremental", "--differential"} {
		t.Run(mode[2:], func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			f := &field{t: t, dir: dir, data: filepath.Join(dir, "data"), vol: filepath.Join(dir, "vol")}
			if err := os.Mkdir(f.data, 0o755); err != nil {
				t.Fatal(err)
			}
			f.shell(f.data, changesStart)
			f.run("backup", f.data, "--to", f.vol, "--archive-size", "2MiB")
			for i, change := range changes {
				f.shell(f.data, change)
				f.run("backup", f.data, "--to", f.vol, mode, "--compress", codecs[i%3])
				f.shell(dir, fmt.Sprintf("cp -a data was%d", i+1))
			}
			for i, set := range f.sets()[1:] {
				made := summaryOf(t, f.exits(0, []string{"consolidate", set.Set, "--archive-size", "1MiB", "--compress", codecs[i%2], "--json"}))
				was := filepath.Join(dir, fmt.Sprintf("was%d", i+1))
				back, stock := filepath.Join(dir, "back-"+made.Set), filepath.Join(dir, "stock-"+made.Set)
				f.run("restore", made.Set, "--to", back)
				capstantest.CompareTrees(t, was, filepath.Join(back, "data"))
				if chain := f.chainOf(filepath.Join(f.vol, made.Set)); len(chain) != 1 {
					t.Errorf("RESTORE.txt names %q", chain)
				}
				stockRestore(t, filepath.Join(f.vol, made.Set), stock)
				capstantest.CompareTrees(t, was, filepath.Join(stock, "data"), capstantest.IgnoreTimes())
			}
			f.run("verify", "--read-data")
			f.run("catalog", "check")
		})
	}
}

// TestConsolidateHostileTree consolidates what careless programs lose.
func TestConsolidateHostileTree(t *testing.T) {
	t.Parallel()
	f := newField(t)
	capstantest.HostileTree(t, f.data)
	f.run("backup", f.data, "--to", f.vol, "--archive-size", "1MiB")
	f.shell(f.data, "find . -type f | LC_ALL=C sort | awk 'NR % 5 == 0' | tr '\\n' '\\0' | xargs -0 -r -n 1 sh -c 'test ! -f \"$1\" || chmod u+w,g-w \"$1\"' x; echo new > 'zz new'")
	f.run("backup", f.data, "--to", f.vol, "--incremental")
	made := summaryOf(t, f.exits(0, []string{"consolidate", "latest", "--archive-size", "1MiB", "--json"}))
	f.whole(made.Set)
	if diff := f.run("diff", f.sets()[1].Set, made.Set); diff != "" {
		t.Errorf("it differs from what it was made of:\n%s", diff)
	}
}

// TestConsolidateFromOtherVolumes reads each archive from a volume that has it, whichever
// that is.
func TestConsolidateFromOtherVolumes(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 51)
	two := filepath.Join(f.dir, "two")
	backup := []string{"backup", f.data, "--to", f.vol, "--to", two, "--archive-size", "1MiB"}
	f.run(backup...)
	write(t, filepath.Join(f.data, "new"), noise(52, 100<<10))
	f.run(append(backup, "--incremental")...)
	full := f.sets()[0].Set
	for i, name := range f.show(full).Archives { // each is left on one of the volumes
		if err := os.Remove(filepath.Join([]string{f.vol, two}[i%2], full, name.Name)); err != nil {
			t.Fatal(err)
		}
	}
	f.exits(3, []string{"verify"})
	made := summaryOf(t, f.exits(0, []string{"consolidate", "latest", "--to", f.vol, "--json"}))
	f.whole(made.Set)
	// What is on no volume ends the run, and is named; a set that has all goes on from there.
	gone := f.show(f.sets()[1].Set).Archives[0].Name
	write(t, filepath.Join(f.data, "newer"), noise(53, 100<<10))
	f.run("backup", f.data, "--to", f.vol, "--to", two, "--incremental")
	of := f.sets()[3].Set
	for _, volume := range []string{f.vol, two} {
		if err := os.Remove(filepath.Join(volume, f.sets()[1].Set, gone)); err != nil {
			t.Fatal(err)
		}
	}
	e := f.try("consolidate", of, "--to", f.vol)
	if e.code != 1 || !strings.Contains(e.err, gone) {
		t.Errorf("without %s: exit %d\n%s", gone, e.code, e.err)
	}
}

// TestConsolidateIsInterrupted stops a consolidation: the job is locked while it runs, the
// same call resumes it, and a backup in between neither resumes nor hinders it.
func TestConsolidateIsInterrupted(t *testing.T) {
	t.Parallel()
	f := newField(t)
	m := f.slowly(f.vol)
	write(t, filepath.Join(f.data, "noise"), noise(54, 8<<20))
	f.run("backup", f.data, "--to", f.vol)
	write(t, filepath.Join(f.data, "new"), noise(55, 100<<10))
	incremental := []string{"backup", f.data, "--to", f.vol, "--incremental"}
	f.run(incremental...)
	of := f.sets()[1].Set
	consolidate := []string{"consolidate", of, "--archive-size", "1MiB", "--json"}
	hold := m.Add(slowfs.Rule{Op: slowfs.Rename, Name: "backup_*_0003.*", Hold: true}) // two are sealed by then
	p := f.start(consolidate...)
	if _, ok := p.hits(hold); !ok {
		t.Fatal(p.end().err)
	}
	f.exits(11, incremental)
	p.told(unix.SIGINT)
	hold.End()
	f.check(p.end(), 130, consolidate, "the next call of the same consolidation resumes", "no other set was touched")
	f.exits(4, []string{"forget", of, "--yes"}, "builds on it") // what is being made of it
	write(t, filepath.Join(f.data, "later"), noise(56, 100<<10))
	if s := summaryOf(t, f.exits(0, append(incremental, "--json"))); s.Resumed || s.Stored != 2 {
		t.Errorf("the backup in between: %+v", s)
	}
	s := summaryOf(t, f.exits(0, consolidate))
	if !s.Resumed || s.Status != "complete" || s.Stored != 3 {
		t.Errorf("the same call: %+v", s)
	}
	if diff := f.run("diff", of, s.Set); diff != "" {
		t.Errorf("it differs from what it was made of:\n%s", diff)
	}
	f.exits(130, []string{"consolidate", f.sets()[3].Set, "--timeout", "1ms"}, "--timeout 1ms is over")
}
