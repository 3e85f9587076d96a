package cli_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest"
)

// flips is how many bits TestFlippedBits flips in each file of a set. The same in
// process, a thousand times, is in internal/daemon.
var flips = flag.Int("flips", 1, "bits to flip in each file of a set, with the program as it is called")

// TestFlippedBits flips single bits in every file of a set of each kind: verify exits
// with 3 and names the file; a restore loses, and names, nothing but what lies in an
// archive that was hit, and restores all else.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	const seed = 9
	for name, flags := range map[string][]string{
		"zstd": nil, "gzip": {"--compress", "gzip"}, "none": {"--compress", "none"}, "encrypted": {"--encrypt-to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(len(name))))
			f := newField(t)
			plant(t, f.data, 95, 30, 50<<10)
			var open []string
			if name == "encrypted" {
				key, public := newKey(t)
				flags, open = append(flags, public), []string{"--identity", key}
			}
			f.run(append([]string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}, flags...)...)
			set := f.onlySet()
			files, err := os.ReadDir(filepath.Join(f.vol, set.Set))
			if err != nil || len(files) < 7 {
				t.Fatalf("%d files: %v", len(files), err)
			}
			for n := range *flips * len(files) {
				file := files[n%len(files)].Name()
				if file == ".capstan-owner.json" {
					continue // it says who may write there, and nothing of what was backed up
				}
				f.flipped(random, set.Set, file, open)
			}
			f.run(append([]string{"verify", "--read-data"}, open...)...)
		})
	}
}

// flipped flips one bit of a file of the set, and puts it right.
func (f *field) flipped(random *rand.Rand, set, file string, open []string) {
	f.t.Helper()
	var what string
	undo := damage(f.t, filepath.Join(f.vol, set, file), func(b []byte) []byte {
		at, bit := random.IntN(len(b)), random.IntN(8)
		what = fmt.Sprintf("bit %d of byte %d of %d of %s", bit, at, len(b), file)
		b[at] ^= 1 << bit
		return b
	})
	defer undo()
	f.exits(3, append([]string{"verify", "--read-data"}, open...), file)
	back := filepath.Join(f.t.TempDir(), "back")
	e := f.try(append([]string{"restore", set, "--to", back, "--json"}, open...)...)
	var lost []string
	for _, problem := range summaryOf(f.t, e).Problems {
		lost = append(lost, problem.Object)
		if _, err := os.Lstat(filepath.Join(back, problem.Object)); !errors.Is(err, fs.ErrNotExist) {
			f.t.Errorf("%s: %s was said to be lost, and is there", what, problem.Object)
		}
	}
	if archive := strings.HasPrefix(file, "backup_"); e.code != 0 && (e.code != 3 || len(lost) == 0 || !archive) {
		f.t.Errorf("%s: restore exits %d, lost %q\n%s", what, e.code, lost, e.err)
	}
	differences, err := capstantest.Diff(f.data, filepath.Join(back, "data"), capstantest.Skip(func(path string) bool {
		return slices.Contains(lost, "data/"+path)
	}))
	if err != nil || len(differences) > 0 {
		f.t.Errorf("%s: restored wrongly: %q, %v", what, differences, err)
	}
}
