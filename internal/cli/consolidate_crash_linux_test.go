package cli_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// moment is an operation at which a consolidation is killed.
type moment struct {
	at   string // a mount
	rule slowfs.Rule
}

// consolidateSteps are where a consolidation into some eight archives is killed.
func consolidateSteps(staged bool) (steps []moment) {
	if staged {
		return []moment{
			{"home", slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: 9}},
			{"stage", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3, Late: true}},
			{"two", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 2, Late: true}},
			{"two", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS.sig", Late: true}},
		}
	}
	for n := range 4 { // the set, what becomes of it, archive by archive
		steps = append(steps, moment{"home", slowfs.Rule{Op: slowfs.Sync, Name: "catalog.db-wal", After: 3 * n, Late: n%2 == 0}})
	}
	return append(steps,
		moment{"one", slowfs.Rule{Op: slowfs.Rename, Name: "20??-*", Late: true}},
		moment{"one", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3}},
		moment{"one", slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 4, Late: true}},
		moment{"one", slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS.sig", Late: true}},
	)
}

// TestConsolidateKilled kills consolidations at each of their steps: the sets that
// they were made of are whole, the job goes on, and the same call completes the set.
func TestConsolidateKilled(t *testing.T) {
	t.Parallel()
	const together = 4 // steps in one place, one after the other
	for way, staged := range map[string]bool{"one volume": false, "stage and two volumes": true} {
		for i, steps := range slices.Collect(slices.Chunk(consolidateSteps(staged), together)) {
			t.Run(fmt.Sprintf("%s/%d", way, i), func(t *testing.T) {
				t.Parallel()
				c := newCrash(t, staged)
				c.run(c.args...)
				for n, s := range steps {
					c.consolidateKilled(n, s)
				}
			})
		}
	}
}

// consolidateKilled makes an incremental set, kills its consolidation, and lets the same
// call end it, every other time with a backup between; then the links are forgotten.
func (c *crash) consolidateKilled(n int, s moment) {
	c.t.Helper()
	incremental := append(slices.Clone(c.args), "--incremental")
	write(c.t, filepath.Join(c.data, "new", fmt.Sprint(n)), noise(uint64(n), 100<<10))
	c.run(incremental...)
	sets := c.sets()
	of := sets[len(sets)-1].Set
	before := filepath.Join(c.dir, "before")
	c.run("restore", of, "--to", before)
	args := []string{"consolidate", of, "--archive-size", "1MiB", "--json"}
	if stage := c.mounts["stage"]; stage != nil {
		args = append(args, "--stage", stage.Dir)
	}
	s.rule.Hold = true
	if killed, e := c.killedAt(c.mounts[s.at], s.rule, (*exec.Cmd).Start, args...); !killed {
		c.t.Errorf("the consolidation did not come to %+v in %s: exit %d\n%s", s.rule, s.at, e.code, e.err)
	}
	c.run("catalog", "check")
	c.exits(0, []string{"verify", of, "--read-data"})
	if n%2 == 0 {
		c.run(incremental...)
	}
	last := c.ends(c.start(args...))
	if last.Status != "complete" {
		c.t.Errorf("set %s is %s", last.Set, last.Status)
	}
	c.run("catalog", "check")
	c.exits(0, []string{"verify", "--read-data"})
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
			c.t.Errorf("killed at %+v in %s: set %s is kept beside %s", s.rule, s.at, of, last.Set)
		}
	}
	c.nothingElse()
}
