package cli_test

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// TestRewrapKilled kills rotations at operations of the volume, further on each time: the
// set always opens with both keys, and nothing but the unfinished rotation is named; the
// last call finishes it.
func TestRewrapKilled(t *testing.T) {
	t.Parallel()
	f := newField(t)
	m := f.slowly(f.vol)
	plant(t, f.data, 90, 120, 100<<10)
	old, oldPublic := newKey(t)
	key, public := newKey(t)
	f.run("backup", f.data, "--to", f.vol, "--archive-size", "1MiB", "--encrypt-to", oldPublic)
	write(t, filepath.Join(f.data, "later"), []byte("later"))
	f.run("backup", f.data, "--to", f.vol, "--incremental", "--encrypt-to", public)
	first := f.sets()[0].Set
	random := rand.New(rand.NewPCG(90, 90))
	rewrap := []string{"key", "rewrap", first, "--identity", old, "--encrypt-to", public}
	both := []string{"--identity", old, "--identity", key}
	killed := 0
	for range 8 {
		rule := slowfs.Rule{Ops: []slowfs.Op{slowfs.Write, slowfs.Rename}, After: random.IntN(8), Late: random.IntN(2) == 0}
		done, e := f.killedAt(m, rule, (*exec.Cmd).Start, rewrap...)
		if !done {
			f.check(e, 0, rewrap)
			break
		}
		killed++
		verify := append([]string{"verify", "--read-data"}, both...)
		if e := f.try(verify...); e.code != 0 && (e.code != 3 || !strings.Contains(e.err, "was not finished") || strings.Contains(e.err, "damaged")) {
			t.Errorf("after %d kills, verify exits %d:\n%s", killed, e.code, e.err)
		}
		back := filepath.Join(t.TempDir(), "back")
		f.run(append([]string{"restore", "latest", "--to", back}, both...)...)
		capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
	}
	if killed < 2 {
		t.Errorf("%d rotations were killed", killed)
	}
	f.run(rewrap...)
	if e := f.exits(0, []string{"verify", "--read-data", "--identity", key}); !strings.Contains(e.out, "all is well") || strings.Contains(e.out, "encrypted") {
		t.Errorf("verify with the new key: %s%s", e.out, e.err)
	}
	back := filepath.Join(f.dir, "back")
	f.run("restore", "latest", "--to", back, "--identity", key)
	capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
	stock := filepath.Join(f.dir, "stock")
	stockUnseal(t, filepath.Join(f.vol, first), key, stock)
	sealed(t, filepath.Join(f.vol, first))
	f.exits(12, []string{"restore", first, "--to", back + "2", "--identity", old})
	f.run("catalog", "check")
}
