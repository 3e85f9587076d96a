package cli_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest/slowfs"
)

// TestSplitNeighboursKilled kills a backup of two files that are larger than an archive,
// one behind the other, when each of the archives is sealed. What stock tools find in
// the set that the next call completes is there once.
func TestSplitNeighboursKilled(t *testing.T) {
	t.Parallel()
	for n := range 6 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			c := placeFor(t, false)
			for i, name := range []string{"a", "b", "c"} {
				write(t, filepath.Join(c.data, name), noise(uint64(i), 1<<20+600<<10))
			}
			c.kill("one", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: n})
			c.complete()
			found := map[string]int{}
			paths, err := filepath.Glob(filepath.Join(c.vol, "20*", archive))
			if err != nil || len(paths) < 6 {
				t.Fatalf("%q, %v", paths, err)
			}
			for _, path := range paths {
				out, err := exec.CommandContext(t.Context(), "tar", "--zstd", "-tf", path).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				for _, name := range slices.Collect(strings.Lines(string(out))) {
					if found[name]++; found[name] > 1 {
						t.Errorf("%s is there %d times", strings.TrimSpace(name), found[name])
					}
				}
			}
		})
	}
}
