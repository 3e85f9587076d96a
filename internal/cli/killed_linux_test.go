package cli_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	// kills is how many kills TestKilled plays: make test-crash has 1,000.
	kills = flag.Int("kills", 100, "kills of TestKilled, all lanes together")
	// killSeed decides what is killed where, in what order.
	killSeed = flag.Uint64("kill-seed", 1, "seed of TestKilled")
)

// TestKilled kills the program at the named points, in four lanes side by side: onto
// one volume directly, or through a stage onto two, encrypted or not. The backups
// are full and incremental ones; sets are consolidated, and forgotten everywhere or on
// one volume. After each kill the catalog is sound and what it
// calls complete can be read; the same command, called again, completes; the tree
// comes back as it is; what was acknowledged is there still, untouched; nothing is
// stored twice, and nothing is left over in stage, volumes, home and target.
//
// What is drawn comes from -kill-seed. Where the program happens not to come to the
// drawn operation, an earlier one of its kind is drawn.
func TestKilled(t *testing.T) {
	t.Parallel()
	binary := buildProgram(t)
	count := &killCount{kills: map[string]map[string]int{}, again: map[string]int{}, spots: map[string]map[string]int{}}
	begin := time.Now()
	t.Run("lane", func(t *testing.T) {
		for i, lane := range []killLane{
			{name: "direct"},
			{name: "staged", staged: true},
			{name: "direct encrypted", encrypted: true},
			{name: "staged encrypted", staged: true, encrypted: true},
		} {
			t.Run(lane.name, func(t *testing.T) {
				t.Parallel()
				lane.field = &field{t: t, binary: binary}
				lane.count = count
				lane.random = rand.New(rand.NewPCG(*killSeed, uint64(i)))
				lane.open()
				lane.play((*kills + 3) / 4)
			})
		}
	})
	t.Logf("seed %d, %.0f s\n%s", *killSeed, time.Since(begin).Seconds(), count)
}

// buildProgram builds the real program.
func buildProgram(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "capstan")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "capstan/cmd/capstan")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// killCount counts kills.
type killCount struct {
	mu    sync.Mutex
	kills map[string]map[string]int // by lane and point
	again map[string]int            // by point: of a run that went on after a kill
	spots map[string]map[string]int // by point and spot; those without a kill too
}

// add counts a kill; again says that it was one of a run that went on after a kill.
func (c *killCount) add(lane, point string, s spot, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if again {
		c.again[point]++
	} else {
		c.of(c.kills, lane)[point]++
	}
	c.of(c.spots, point)[s.String()]++
}

// at gives the kills of a lane at a point.
func (c *killCount) at(lane, point string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kills[lane][point]
}

// know makes a spot known.
func (c *killCount) know(point string, s spot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(c.spots, point)[s.String()] += 0
}

func (c *killCount) of(all map[string]map[string]int, key string) map[string]int {
	if all[key] == nil {
		all[key] = map[string]int{}
	}
	return all[key]
}

// String is a table: for each point the kills in each lane, and how many of its
// operations were met.
func (c *killCount) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	line := func(point string, cells ...any) {
		fmt.Fprintf(&text, "%-11s %7v %7v %10v %10v %7v %9v  %v\n", append([]any{point}, cells...)...)
	}
	line("point", "direct", "staged", "direct enc", "staged enc", "kills", "and again", "operations")
	var total, again int
	for _, point := range killPoints {
		sum, met := 0, 0
		for _, kills := range c.kills {
			sum += kills[point]
		}
		for _, n := range c.spots[point] {
			met += min(n, 1)
		}
		line(point, c.kills["direct"][point], c.kills["staged"][point], c.kills["direct encrypted"][point], c.kills["staged encrypted"][point],
			sum, c.again[point], fmt.Sprintf("%d of %d", met, len(c.spots[point])))
		total, again = total+sum, again+c.again[point]
	}
	line("all", "", "", "", "", total, again, "")
	for _, point := range killPoints {
		for s, n := range c.spots[point] {
			if n == 0 && total >= 1000 { // else there were not enough
				fmt.Fprintf(&text, "not met, %s: %s\n", point, s)
			}
		}
	}
	return text.String()
}

// grow changes the tree: every time a bit of everything, and every other time so much
// that there are several archives also in an incremental set.
func (l *killLane) grow() {
	l.t.Helper()
	l.changes++
	n := uint64(l.changes)
	if n == 1 {
		killGarden(l.t, l.data, *killSeed)
		return
	}
	write(l.t, filepath.Join(l.data, "new", fmt.Sprintf("file-%d", n%5)), noise(n, int(1+n%7*9000)))
	write(l.t, filepath.Join(l.data, "small", "dir-01", "file-0003"), noise(n, 3000))
	if n%2 == 0 {
		write(l.t, filepath.Join(l.data, "large"), noise(n, 1<<20+200<<10))
	}
	if n%3 == 0 {
		if err := os.RemoveAll(filepath.Join(l.data, "mid", fmt.Sprintf("gone-%d", n%2))); err != nil {
			l.t.Fatal(err)
		}
	} else {
		write(l.t, filepath.Join(l.data, "mid", fmt.Sprintf("gone-%d", n%2), "in"), noise(n, 50))
	}
}

// killGarden makes a tree of some 3 MiB with one of each: small files, one that is
// split at 1 MiB, a hole, links, odd times.
func killGarden(t *testing.T, dir string, seed uint64) {
	t.Helper()
	plant(t, filepath.Join(dir, "small"), seed, 40, 10<<10)
	write(t, filepath.Join(dir, "large"), noise(seed+1000, 1<<20+300<<10))
	write(t, filepath.Join(dir, "zz", "middle"), noise(seed+1001, 600<<10))
	write(t, filepath.Join(dir, "empty file"), nil)
	write(t, filepath.Join(dir, "mid", "set"), []byte("setuid"))
	sparse := filepath.Join(dir, "mid", "sparse")
	write(t, sparse, []byte("begins"))
	for _, err := range []error{
		os.Truncate(sparse, 5<<20),
		os.Link(filepath.Join(dir, "zz", "middle"), filepath.Join(dir, "mid", "middle")),
		os.Symlink("../large", filepath.Join(dir, "mid", "symlink")),
		os.MkdirAll(filepath.Join(dir, "mid", "empty"), 0o700),
		os.Chmod(filepath.Join(dir, "mid", "set"), 0o4750|os.ModeSetuid),
		os.Chtimes(filepath.Join(dir, "mid", "empty"), time.Time{}, time.Unix(-5, 1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}
