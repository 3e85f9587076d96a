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

// forgetting are the words of a forget that keeps the newest set alone.
var forgetting = [...]string{"forget", "--keep-last", "1", "--yes", "--json"}

// forgetPoints are where a forget that removes one set is killed. Of names there are
// one each in a set, but for archives.
func forgetPoints(staged bool) (points []point) {
	for n := range 7 { // the lease, the decision, the lease, volume by volume what is gone, the entries
		points = append(points, point{"home", slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: n, Late: n%2 == 1}})
	}
	at := "one"
	if staged {
		at = "two"
	}
	for _, late := range []bool{false, true} {
		points = append(points,
			point{at, slowfs.Rule{Op: slowfs.Unlink, Name: "SHA256SUMS.sig", Late: late}},
			point{at, slowfs.Rule{Op: slowfs.Unlink, Name: "SHA256SUMS", Late: late}},
			point{at, slowfs.Rule{Op: slowfs.Unlink, Name: "backup_*", After: 2, Late: late}},
			point{at, slowfs.Rule{Op: slowfs.Unlink, Name: "manifest*", Late: late}},
			point{at, slowfs.Rule{Op: slowfs.Rename, Name: ".capstan-claim-*", Late: late}},
			point{at, slowfs.Rule{Op: slowfs.Unlink, Name: ".capstan-owner.json", Late: late}},
			point{at, slowfs.Rule{Op: slowfs.Rmdir, Late: late}},
		)
	}
	return points
}

// TestForgetKilledAtPoint kills a forget at each of its steps: what the catalog
// promises is whole, and the next forget leaves nothing of what went.
func TestForgetKilledAtPoint(t *testing.T) {
	t.Parallel()
	const together = 6 // points in one place, one after the other
	for way, staged := range ways {
		for i, points := range slices.Collect(slices.Chunk(forgetPoints(staged), together)) {
			t.Run(fmt.Sprintf("%s/%d", way, i), func(t *testing.T) {
				t.Parallel()
				c := newCrash(t, staged)
				c.run(c.args...)
				for n, p := range points {
					before := c.killed
					if c.forgetKilled(n, p); c.killed == before {
						t.Errorf("the forget did not come to the point: %s", p)
					}
				}
				c.comesBack()
			})
		}
	}
}

// forgetKilled makes one more set, kills the forget of the one before, and lets the
// next forget go on, every other time with a backup between.
func (c *crash) forgetKilled(n int, p point) {
	c.t.Helper()
	backup := c.args
	defer func() { c.args = backup }()
	c.t.Logf("killed %s", p)
	write(c.t, filepath.Join(c.data, "new", fmt.Sprint(n)), noise(uint64(n), 100<<10))
	c.run(backup...)
	kept := c.latest()
	c.args = forgetting[:]
	c.kill(p)
	if n%2 == 0 {
		c.args = backup
		c.run(backup...)
		c.args = forgetting[:]
		kept = c.latest()
	}
	c.run(forgetting[:]...)
	if sets := c.sets(); len(sets) != 1 || sets[0].Set != kept {
		c.t.Errorf("after it was killed %s there are %+v, want %s alone", p, sets, kept)
	}
	c.run("catalog", "check")
	if e := c.try("verify", "--read-data"); e.code != 0 {
		c.t.Errorf("after it was killed %s, verify: exit %d\n%s%s", p, e.code, e.out, e.err)
	}
	c.nothingElse()
}

func (c *crash) latest() string {
	sets := c.sets()
	return sets[len(sets)-1].Set
}

// comesBack restores the latest set and compares it with the tree.
func (c *crash) comesBack() {
	c.t.Helper()
	back := filepath.Join(c.dir, "back")
	c.run("restore", "latest", "--to", back)
	capstantest.CompareTrees(c.t, c.data, filepath.Join(back, "data"))
	capstantest.RemoveAll(c.t, back)
}

// TestForgetKilledAnywhere kills forgets at random operations of home and volumes.
func TestForgetKilledAnywhere(t *testing.T) {
	t.Parallel()
	for way, staged := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(*kills), 78))
			c := newCrash(t, staged)
			c.run(c.args...)
			mounts := []string{"home", "one", "two"}[:1+len(c.volumes)]
			for n := range *kills {
				ops := []slowfs.Op{slowfs.Sync, slowfs.SyncDir, slowfs.Unlink, slowfs.Rename, slowfs.Write, slowfs.Rmdir, slowfs.Create, slowfs.Close}
				c.forgetKilled(n, point{mounts[random.IntN(len(mounts))], slowfs.Rule{
					Op: ops[random.IntN(len(ops))], After: random.IntN(12), Late: random.IntN(2) == 0,
				}})
			}
			c.comesBack()
		})
	}
}
