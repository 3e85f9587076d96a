package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest"
)

// move renames a directory and gives what undoes it.
func move(t *testing.T, from, to string) (undo func()) {
	t.Helper()
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(from, to)
	return func() { rename(to, from) }
}

// TestExchangedSets takes sets of a volume away or puts others in their place, all
// well signed: verify names each, and a restore says so before it goes on.
func TestExchangedSets(t *testing.T) {
	t.Parallel()
	f := newField(t)
	plant(t, f.data, 80, 20, 5<<10)
	f.run("backup", f.data, "--to", f.vol)
	// A home with the same key that went another way since: what it makes is signed
	// as well as ours is.
	f.shell(f.dir, "cp -a home twin; cp -a vol twinvol")
	f.run("--home", "twin", "backup", f.data, "--to", filepath.Join(f.dir, "twinvol"))
	for range 2 {
		f.run("backup", f.data, "--to", f.vol)
	}
	first, second, third := f.sets()[0].Set, f.sets()[1].Set, f.sets()[2].Set
	aside := filepath.Join(f.dir, "aside")
	restore := func(set string, code int, words ...string) {
		t.Helper()
		back := filepath.Join(t.TempDir(), "back")
		e := f.exits(code, []string{"restore", set, "--to", back}, words...)
		if code == 0 {
			capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
		}
		if said := strings.Contains(e.err, "set "); said != (len(words) > 0) {
			t.Errorf("restore of %s says: %s", set, e.err)
		}
	}
	f.run("verify", "--read-data")
	restore(second, 0)

	// A set is gone: its own copies are missing, and the next one says which it followed.
	undo := move(t, filepath.Join(f.vol, second), aside)
	f.exits(3, []string{"verify", second}, second, "missing")
	f.exits(3, []string{"verify", third}, "set "+second+", which stood before it, is gone")
	f.exits(0, []string{"verify", first})
	restore(third, 0, second+", which stood before it, is gone")
	undo()

	// Another set in its place, as well signed.
	defer move(t, filepath.Join(f.vol, second), aside)()
	theirs := filepath.Join(f.dir, "twinvol", second)
	undo = move(t, theirs, filepath.Join(f.vol, second))
	f.exits(3, []string{"verify", second}, "not the one that the catalog recorded")
	f.exits(3, []string{"verify", third}, "set "+second+" is not the one that stood before it")
	restore(second, 0, "not the one that the catalog recorded") // the twin stored the same files
	undo()

	// A home that knows nothing but the volume can say no more than that.
	f.run("--home", "fresh", "catalog", "rebuild", f.vol)
	e := f.try("--home", "fresh", "verify")
	f.check(e, 0, []string{"verify"}, second+", which is no longer there")
}

// TestMissingLink: a chain of which a set is not known is named by all who need
// it, with the set, its place, and what to do.
func TestMissingLink(t *testing.T) {
	t.Parallel()
	f := newField(t)
	plant(t, f.data, 81, 20, 5<<10)
	for _, name := range []string{"one", "two", "three"} {
		write(t, filepath.Join(f.data, name), []byte(name))
		f.run("backup", f.data, "--to", f.vol, "--incremental")
	}
	sets := f.sets()
	first, second, third := sets[0].Set, sets[1].Set, sets[2].Set
	undo := move(t, filepath.Join(f.vol, first), filepath.Join(f.dir, "aside"))
	f.run("--home", "fresh", "catalog", "rebuild", f.vol)
	fresh := func(args ...string) []string { return append([]string{"--home", "fresh"}, args...) }
	back := filepath.Join(f.dir, "back")
	for _, args := range [][]string{{"restore", third, "--to", back}, {"ls", third}, {"verify", third}, {"cat", third, "data/one"}, {"diff", second, third}} {
		f.exits(3, fresh(args...), "builds on set "+first, "those that build on it are on "+f.vol, "capstan catalog rebuild "+f.vol)
	}
	nothing(t, back)
	if e := f.try(fresh("restore", third, "--to", back)...); !strings.Contains(e.err, "set "+second+" does") {
		t.Errorf("it does not say which set of the chain misses it: %s", e.err)
	}
	undo()
	f.run(fresh("catalog", "rebuild", f.vol)...)
	f.run(fresh("restore", third, "--to", back)...)
	capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
	f.run(fresh("verify", "--read-data")...)
}

// TestSignedAfterLostCatalog: a home that lost its catalog, and not its key, signs its
// next set after the one that was there.
func TestSignedAfterLostCatalog(t *testing.T) {
	t.Parallel()
	f := newField(t)
	plant(t, f.data, 82, 5, 5<<10)
	f.run("backup", f.data, "--to", f.vol)
	f.run("backup", f.data, "--to", f.vol)
	last := f.sets()[1].Set
	f.shell(f.dir, "rm home/catalog.db*")
	f.run("catalog", "rebuild", f.vol)
	f.run("backup", f.data, "--to", f.vol)
	signature, err := os.ReadFile(filepath.Join(latestSet(t, f.vol), "SHA256SUMS.sig"))
	if err != nil || !strings.Contains(string(signature), "previous-set: "+last+"\n") {
		t.Errorf("want it signed after %s, %v:\n%s", last, err, signature)
	}
	defer move(t, filepath.Join(f.vol, last), filepath.Join(f.dir, "aside"))()
	f.exits(3, []string{"verify", "latest"}, last+", which stood before it, is gone")
}
