package cli_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// consolidatePoints are where a consolidation into some eight archives is killed.
func consolidatePoints(staged bool) (points []point) {
	if staged {
		return []point{
			{"home", slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: 9}},
			{"stage", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3, Late: true}},
			{"two", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 2, Late: true}},
			{"two", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS.sig", Late: true}},
		}
	}
	for n := range 4 { // the set, what becomes of it, archive by archive
		points = append(points, point{"home", slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: 3 * n, Late: n%2 == 0}})
	}
	return append(points,
		point{"one", slowfs.Rule{Op: slowfs.Rename, Name: "20??-*", Late: true}},
		point{"one", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3}},
		point{"one", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 4, Late: true}},
		point{"one", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS.sig", Late: true}},
	)
}

// TestConsolidateKilledAtPoint kills consolidations at each of their steps: the sets that
// they were made of are whole, the job goes on, and the same call completes the set.
func TestConsolidateKilledAtPoint(t *testing.T) {
	t.Parallel()
	const together = 4 // points in one place, one after the other
	for way, staged := range ways {
		for i, points := range slices.Collect(slices.Chunk(consolidatePoints(staged), together)) {
			t.Run(fmt.Sprintf("%s/%d", way, i), func(t *testing.T) {
				t.Parallel()
				c := newCrash(t, staged)
				c.run(c.args...)
				for n, p := range points {
					before := c.killed
					if c.consolidateKilled(n, p); c.killed == before {
						t.Errorf("the consolidation did not come to the point: %s", p)
					}
				}
			})
		}
	}
}

// TestConsolidateKilledAnywhere kills consolidations at random operations.
func TestConsolidateKilledAnywhere(t *testing.T) {
	t.Parallel()
	for way, staged := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(*kills), 79))
			c := newCrash(t, staged)
			c.run(c.args...)
			mounts := []string{"home", "one", "two", "stage"}
			if !staged {
				mounts = mounts[:2]
			}
			ops := []slowfs.Op{slowfs.Sync, slowfs.SyncDir, slowfs.Rename, slowfs.Write, slowfs.Create, slowfs.Close}
			for n := range *kills / 2 {
				c.consolidateKilled(n, point{mounts[random.IntN(len(mounts))], slowfs.Rule{
					Op: ops[random.IntN(len(ops))], After: random.IntN(24), Late: random.IntN(2) == 0,
				}})
			}
		})
	}
}

// consolidateKilled makes an incremental set, kills its consolidation, and lets the same
// call end it, every other time with a backup between; then the links are forgotten.
func (c *crash) consolidateKilled(n int, p point) {
	c.t.Helper()
	c.t.Logf("killed %s", p)
	backup := c.args
	defer func() { c.args = backup }()
	write(c.t, filepath.Join(c.data, "new", fmt.Sprint(n)), noise(uint64(n), 100<<10))
	c.run(append(slices.Clone(backup), "--incremental")...)
	of := c.latest()
	before := filepath.Join(c.dir, "before")
	c.run("restore", of, "--to", before)
	c.args = []string{"consolidate", of, "--archive-size", "1MiB", "--json"}
	if stage := c.mounts["stage"]; stage != nil {
		c.args = append(c.args, "--stage", stage.Dir)
	}
	c.kill(p)
	if n%2 == 0 {
		c.run(append(slices.Clone(backup), "--incremental")...)
	}
	last := c.ends(c.start(c.args...))
	if last.Status != "complete" {
		c.t.Errorf("set %s is %s", last.Set, last.Status)
	}
	c.honest()
	c.once(last.Set)
	after := filepath.Join(c.dir, "after")
	c.run("restore", last.Set, "--to", after)
	capstantest.CompareTrees(c.t, filepath.Join(before, "data"), filepath.Join(after, "data"))
	capstantest.RemoveAll(c.t, before)
	capstantest.RemoveAll(c.t, after)
	c.nothingElse()
	c.run(forgetting[:]...)
	for _, set := range c.sets() {
		if set.Set == of && n%2 == 1 { // else the backup in between builds on it
			c.t.Errorf("killed %s: set %s is kept beside %s", p, of, last.Set)
		}
	}
	c.nothingElse()
}
