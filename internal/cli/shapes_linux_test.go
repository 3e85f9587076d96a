package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"capstan/internal/capstantest"
)

// shape is a source of some form, and where its restore must be found.
type shape struct {
	prepare func(t *testing.T, dir string) // makes things in the current directory of the call
	sources []string
	volume  string // "vol" if empty
	flags   []string
	want    map[string]string // name within the restored directory to the original
	without []string          // paths that the restore leaves out: the volume, the home, what is excluded
}

func shapes() map[string]shape {
	data := map[string]string{"data": "data"}
	tree := func(t *testing.T, dir string) {
		t.Helper()
		garden(t, filepath.Join(dir, "data"), 90)
	}
	make := func(t *testing.T, dir string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, target, dir, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]shape{
		"a relative path":          {prepare: tree, sources: []string{"data"}, want: data},
		"a path with dots":         {prepare: tree, sources: []string{"./data/../data/mid/"}, want: map[string]string{"mid": "data/mid"}, flags: []string{"--exclude", "name of large", "--exclude", "middle"}, without: []string{"name of large", "middle"}},
		"a single file":            {prepare: tree, sources: []string{"data/large"}, want: map[string]string{"large": "data/large"}},
		"a single file, in pieces": {prepare: tree, sources: []string{"data/large"}, flags: []string{"--archive-size", "1MiB"}, want: map[string]string{"large": "data/large"}},
		"an empty file":            {prepare: tree, sources: []string{"data/empty file"}, want: map[string]string{"empty file": "data/empty file"}},
		"files at the size of an archive": {
			prepare: func(t *testing.T, dir string) {
				t.Helper()
				for name, size := range map[string]int{"a": 1<<20 - 1024, "b": 1 << 20, "c": 1<<20 + 1, "d": 3 << 20, "e": 1<<20 - 512, "f": 2<<20 - 1} {
					write(t, filepath.Join(dir, "data", name), noise(uint64(size), size))
				}
			},
			sources: []string{"data"}, flags: []string{"--archive-size", "1MiB", "--compress", "none"}, want: data,
		},
		"a sparse file in pieces": {
			prepare: func(t *testing.T, dir string) {
				t.Helper()
				path := filepath.Join(dir, "data", "sparse")
				write(t, path, noise(91, 2<<20))
				file, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				for _, at := range []int64{5 << 20, 64 << 20, 1 << 30} {
					if _, err := file.WriteAt(noise(uint64(at), 1<<20+77), at); err != nil {
						t.Fatal(err)
					}
				}
				if err := file.Truncate(3 << 30); err != nil {
					t.Fatal(err)
				}
			},
			sources: []string{"data"}, flags: []string{"--archive-size", "1MiB"}, want: data,
		},
		"a link to a directory": {
			prepare: func(t *testing.T, dir string) { t.Helper(); tree(t, dir); link(t, "data", dir, "link") },
			sources: []string{"link"}, want: map[string]string{"link": "data"},
		},
		"a link to a file": {
			prepare: func(t *testing.T, dir string) { t.Helper(); tree(t, dir); link(t, "data/zz/middle", dir, "link") },
			sources: []string{"link"}, want: map[string]string{"link": "data/zz/middle"},
		},
		"an empty directory": {
			prepare: func(t *testing.T, dir string) { t.Helper(); make(t, filepath.Join(dir, "data")) },
			sources: []string{"data"}, want: data,
		},
		"nothing but excluded files": {
			prepare: tree, sources: []string{"data"}, flags: []string{"--exclude", "*"}, want: data,
			without: []string{"small", "large", "zz", "empty file", "mid"},
		},
		"the volume inside the source":   {prepare: tree, sources: []string{"data"}, volume: "data/mid/vol", want: data, without: []string{"mid/vol"}},
		"the source inside the volume":   {prepare: func(t *testing.T, dir string) { t.Helper(); garden(t, filepath.Join(dir, "vol", "data"), 92) }, sources: []string{"vol/data"}, want: map[string]string{"data": "vol/data"}},
		"the home and the volume inside": {prepare: tree, sources: []string{"."}, want: map[string]string{".": "."}, without: []string{"home", "vol"}},
		"two of one name": {prepare: func(t *testing.T, dir string) {
			t.Helper()
			tree(t, dir)
			garden(t, filepath.Join(dir, "b", "data"), 93)
		}, sources: []string{"data", "b/data"}, want: map[string]string{"data": "data", "data-2": "b/data"}},
		"a name that is no text": {prepare: func(t *testing.T, dir string) { t.Helper(); garden(t, filepath.Join(dir, "da\xff\nta *"), 94) }, sources: []string{"da\xff\nta *"}, want: map[string]string{"da\xff\nta *": "da\xff\nta *"}},
	}
}

// TestShapes backs up sources of every form twice, and gets each back.
func TestShapes(t *testing.T) {
	t.Parallel()
	for name, shape := range shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			shape.prepare(t, f.dir)
			if shape.volume == "" {
				shape.volume = "vol"
			}
			backup := append(append([]string{"backup"}, shape.sources...), "--to", shape.volume, "--json")
			backup = append(backup, shape.flags...)
			for round := range 2 {
				e := f.exits(0, backup)
				if e.code != 0 {
					return
				}
				s := summaryOf(t, e)
				if s.Status != "complete" {
					t.Errorf("%s: %s", s.Status, e.out)
				}
				f.counted(s)
				f.once(s.Set)
				f.exits(0, []string{"verify", s.Set, "--read-data"})
				back := filepath.Join(t.TempDir(), "back") // not below the source
				f.run("restore", s.Set, "--to", back)
				if entries, err := os.ReadDir(back); err != nil || len(entries) != len(shape.want) {
					t.Errorf("restored %v (%v), want %v", entries, err, shape.want)
				}
				for restored, original := range shape.want {
					if restored == "." {
						restored = filepath.Base(f.dir)
					}
					restored, original = filepath.Join(back, restored), filepath.Join(f.dir, original)
					if info, err := os.Stat(original); err == nil && !info.IsDir() {
						sameFile(t, original, restored)
						continue
					}
					capstantest.CompareTrees(t, original, restored, without(shape, round)...)
				}
			}
			f.run("catalog", "check")
		})
	}
}

// without makes a comparison pass over what a shape leaves out. The directory
// that the volume or the home lies in changes with them.
func without(s shape, round int) []capstantest.Option {
	skip := capstantest.Skip(func(path string) bool {
		return slices.Contains(s.without, path)
	})
	options := []capstantest.Option{skip}
	if s.volume != "vol" || s.sources[0] == "." || round > 0 && len(s.without) > 0 {
		options = append(options, capstantest.IgnoreTimes())
	}
	return options
}

// sameFile compares two single files in all that a tree comparison looks at.
func sameFile(t *testing.T, original, restored string) {
	t.Helper()
	name := filepath.Base(original)
	real, err := filepath.EvalSymlinks(original)
	if err != nil {
		t.Fatal(err)
	}
	pair := t.TempDir()
	for i, path := range []string{real, restored} {
		side := filepath.Join(pair, [...]string{"original", "restored"}[i])
		if err := os.Mkdir(side, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, filepath.Join(side, name)); err != nil {
			t.Fatal(err)
		}
	}
	capstantest.CompareTrees(t, filepath.Join(pair, "original"), filepath.Join(pair, "restored"), capstantest.IgnoreRoot())
	if err := os.Rename(filepath.Join(pair, "original", name), real); err != nil {
		t.Fatal(err)
	}
}

// TestVolumeAsSource is refused: it would back up what it writes.
func TestVolumeAsSource(t *testing.T) {
	t.Parallel()
	f := newField(t)
	write(t, filepath.Join(f.data, "x"), []byte("x"))
	if err := os.Symlink("data", filepath.Join(f.dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"data", "./data/", "link"} {
		f.exits(4, []string{"backup", source, "--to", f.data}, source, "volume itself")
	}
	if sets := f.sets(); len(sets) != 0 {
		t.Errorf("sets: %+v", sets)
	}
}
