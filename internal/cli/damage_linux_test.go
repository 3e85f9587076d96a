package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
)

// damage changes a file on a volume in place and gives what undoes it.
func damage(t *testing.T, path string, how func(content []byte) []byte) (undo func()) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if changed := how(slices.Clone(content)); changed == nil {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	} else {
		put(changed)
	}
	return func() { put(content) }
}

func flip(at func(size int) int) func([]byte) []byte {
	return func(content []byte) []byte {
		content[at(len(content))] ^= 0x40
		return content
	}
}

// exported is an entry as the catalog exports it.
type exported struct {
	Type, Path, Kind string
	Archive          int
	Parts            []struct{ Archive int }
}

// within lists the files with content in an archive.
func (f *field) within(archive int) (paths []string) {
	f.t.Helper()
	for _, e := range parse[exported](f.t, f.run("catalog", "export", "--entries")) {
		in := e.Archive == archive
		for _, part := range e.Parts {
			in = in || part.Archive == archive
		}
		if e.Type == "entry" && e.Kind == "file" && in {
			paths = append(paths, e.Path)
		}
	}
	return paths
}

// TestDamagedArchive damages an archive in every way and codec: verify names it,
// and a restore leaves out what is affected, names that, and nothing else.
func TestDamagedArchive(t *testing.T) {
	t.Parallel()
	const number = 2
	for _, codec := range []string{"zstd", "gzip", "none"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			for i := range 60 {
				make := noise
				if i%2 == 0 {
					make = prose
				}
				write(t, filepath.Join(f.data, fmt.Sprintf("dir-%d", i%3), fmt.Sprintf("file-%02d", i)), make(uint64(60+i), 300_000))
			}
			f.run("backup", f.data, "--to", f.vol, "--archive-size", "8MiB", "--compress", codec)
			set := f.onlySet()
			archive := set.Archives[number-1].Name
			path := filepath.Join(f.vol, set.Set, archive)
			inside := f.within(number)
			if len(inside) < 15 || len(set.Archives) != 3 {
				t.Fatalf("%d of 3 archives, %d files in the second", len(set.Archives), len(inside))
			}
			for name, test := range map[string]struct {
				how      func([]byte) []byte
				state    string
				atOnce   bool // seen by a look at the sizes alone
				min, max int  // files that are lost
			}{
				"a flipped bit":             {flip(func(size int) int { return size * 2 / 5 }), "damaged", false, 1, len(inside) - 5},
				"a flipped bit at the head": {flip(func(int) int { return 20 }), "damaged", false, 0, len(inside) - 5},
				"a flipped bit at the end":  {flip(func(size int) int { return size - 3 }), "damaged", false, 0, 1},
				"cut in half":               {func(b []byte) []byte { return b[:len(b)/2] }, "damaged", true, 5, len(inside)},
				"cut by a byte":             {func(b []byte) []byte { return b[:len(b)-1] }, "damaged", true, 0, 1},
				"empty":                     {func([]byte) []byte { return []byte{} }, "damaged", true, len(inside), len(inside)},
				"deleted":                   {func([]byte) []byte { return nil }, "missing", true, len(inside), len(inside)},
			} {
				undo := damage(t, path, test.how)
				say := func(format string, args ...any) {
					t.Helper()
					t.Errorf("%s: %s", name, fmt.Sprintf(format, args...))
				}
				if e := f.try("verify"); (e.code == 3) != test.atOnce || (e.code == 0) == test.atOnce || test.atOnce && !strings.Contains(e.err, archive) {
					say("verify: exit %d\n%s", e.code, e.err)
				}
				if e := f.try("verify", "--read-data"); e.code != 3 || !strings.Contains(e.err, archive) {
					say("verify --read-data: exit %d\n%s", e.code, e.err)
				}
				for i, a := range f.show(set.Set).Archives {
					want := []string{"verified", "written"}
					if i == number-1 {
						want = []string{test.state}
					}
					if state := a.Copies[0].State; !slices.Contains(want, state) {
						say("the copy of %s is %s, want %q", a.Name, state, want)
					}
				}
				back := filepath.Join(f.dir, "back")
				e := f.try("restore", set.Set, "--to", back, "--json")
				s := summaryOf(t, e)
				var lost []string
				for _, problem := range s.Problems {
					lost = append(lost, problem.Object)
					if !slices.Contains(inside, problem.Object) {
						say("%s is lost, which is not in %s: %s", problem.Object, archive, problem.Reason)
					}
					if !strings.Contains(e.err, problem.Object) {
						say("%s is lost, and nobody is told", problem.Object)
					}
				}
				if n := len(lost); n < test.min || n > test.max || (e.code == 0) != (n == 0) || e.code != 0 && e.code != 3 {
					say("restore: exit %d, %d lost of %d\n%s", e.code, n, len(inside), e.err)
				}
				capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"), capstantest.Skip(func(path string) bool {
					_, err := os.Lstat(filepath.Join(back, "data", path))
					return err != nil && slices.Contains(lost, "data/"+path) // what is there is right
				}))
				for _, path := range lost {
					if _, err := os.Lstat(filepath.Join(back, path)); err == nil {
						say("%s was said to be lost, and is there", path)
					}
				}
				capstantest.RemoveAll(t, back)

				// The file comes back: nothing was given up for good.
				undo()
				f.run("restore", set.Set, "--to", back)
				capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
				capstantest.RemoveAll(t, back)
				if e := f.try("verify", "--read-data"); e.code != 0 {
					say("after it was put back: verify exits %d\n%s", e.code, e.err)
				}
				if state := f.show(set.Set).Archives[number-1].Copies[0].State; state != "verified" {
					say("after it was put back, the copy is %s", state)
				}
			}
		})
	}
}

// TestDamagedSetFile damages what stands beside the archives: verify names it, a
// restore needs none of it, and a rebuild takes the other sets.
func TestDamagedSetFile(t *testing.T) {
	t.Parallel()
	f := newField(t)
	plant(t, f.data, 70, 30, 5<<10)
	for range 3 {
		f.run("backup", f.data, "--to", f.vol)
	}
	sets := f.sets()
	second := sets[1].Set
	middle := flip(func(size int) int { return size / 2 })
	gone := func([]byte) []byte { return nil }
	for name, test := range map[string]struct {
		file   string
		how    func([]byte) []byte
		proves bool // a rebuild relies on it
	}{
		"manifest":           {file: "manifest.json.zst", how: middle, proves: true},
		"manifest cut":       {file: "manifest.json.zst", how: func(b []byte) []byte { return b[:len(b)-20] }, proves: true},
		"no manifest":        {file: "manifest.json.zst", how: gone, proves: true},
		"sums":               {file: "SHA256SUMS", how: flip(func(int) int { return 5 }), proves: true},
		"sums of no archive": {file: "SHA256SUMS", how: func(b []byte) []byte { return b[len(b)/2:] }, proves: true},
		"no sums":            {file: "SHA256SUMS", how: gone, proves: true},
		"signature":          {file: "SHA256SUMS.sig", how: middle, proves: true},
		"no signature":       {file: "SHA256SUMS.sig", how: gone, proves: true},
		"guide":              {file: "RESTORE.txt", how: middle},
		"no guide":           {file: "RESTORE.txt", how: gone},
	} {
		t.Run(name, func(t *testing.T) {
			undo := damage(t, filepath.Join(f.vol, second, test.file), test.how)
			defer undo()
			here := *f
			here.t = t
			here.exits(3, []string{"verify", second}, test.file)
			here.exits(0, []string{"verify", sets[0].Set})
			back := filepath.Join(t.TempDir(), "back")
			here.run("restore", second, "--to", back)
			capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))

			home := filepath.Join(t.TempDir(), "fresh")
			code, want := 0, 3
			if test.proves {
				code, want = 3, 2
			}
			rebuild := []string{"--home", home, "catalog", "rebuild", f.vol}
			e := here.try(rebuild...)
			here.check(e, code, rebuild)
			if test.proves && !strings.Contains(e.err, second) {
				t.Errorf("set %s is not named:\n%s", second, e.err)
			}
			found := parse[setLine](t, here.run("--home", home, "sets", "--json"))
			if len(found) != want || slices.ContainsFunc(found, func(s setLine) bool { return s.Set == second }) == test.proves {
				t.Errorf("%d sets were read, want %d: %+v", len(found), want, found)
			}
			here.run("--home", home, "catalog", "check")
			here.run("--home", home, "restore", sets[2].Set, "--to", back+" 2")
			capstantest.CompareTrees(t, f.data, filepath.Join(back+" 2", "data"))
		})
	}
	f.run("verify", "--read-data")
	f.stranger(sets[2].Set)
}

// stranger puts a set of another home in the place of one of ours: an archive and
// sums that fit together, signed by a key that is not ours.
func (f *field) stranger(set string) {
	f.t.Helper()
	other := &field{t: f.t, dir: f.t.TempDir(), data: f.data, vol: filepath.Join(f.t.TempDir(), "vol")}
	for range 3 {
		other.run("backup", f.data, "--to", other.vol)
	}
	theirs, ours := filepath.Join(other.vol, set), filepath.Join(f.vol, set)
	if err := os.Rename(ours, ours+" aside"); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(theirs, ours); err != nil { // one filesystem, or the test says so
		f.t.Fatal(err)
	}
	f.exits(3, []string{"verify", set})
	if err := unix.Rename(ours, theirs); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(ours+" aside", ours); err != nil {
		f.t.Fatal(err)
	}
	f.run("verify", "--read-data")
}
