package cli_test

import (
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// TestSilentHome has the home's filesystem not answer when the catalog is opened:
// the command is not held up by it for good.
func TestSilentHome(t *testing.T) {
	t.Parallel()
	c := newSmall(t, false)
	c.run(c.args...)
	commands := [][]string{
		c.args,
		{"restore", "latest", "--to", "back"},
		{"verify"},
		{"retry", "1"},
		{"abandon", "1"},
		{"cat", "latest", "data/a/small"},
		{"forget", "--keep-last", "1", "--yes"},
		{"catalog", "check"},
		{"catalog", "rebuild", "one"},
	}
	hold := c.mounts["home"].Add(slowfs.Rule{Op: slowfs.Open, Name: "catalog.db", Hold: true})
	var running []*program
	for _, args := range commands {
		running = append(running, c.start(stalling(args...)...))
	}
	until(t, "them to give up", func() bool {
		return len(hold.Hits()) > 0 && !slices.ContainsFunc(running, func(p *program) bool { return p.running() && !p.doomed() })
	})
	hold.End()
	for _, p := range running {
		c.check(p.end(), 1, p.args, "open home "+filepath.Join(c.dir, "home")+": stalled: ", "nothing was begun")
	}
	c.complete()
}

// TestSilentHomeAtTheEnd has the home's filesystem not answer when the catalog is
// closed. What was done is done.
func TestSilentHomeAtTheEnd(t *testing.T) {
	t.Parallel()
	c := newSmall(t, false)
	last := c.mounts["one"].Add(slowfs.Rule{Op: slowfs.Rename, Name: "SHA256SUMS.sig", Hold: true})
	args := append(slices.Clone(c.args), "--stall-fail", "10s")
	p := c.start(args...)
	if _, ok := p.hits(last); !ok {
		t.Fatal(p.end().err)
	}
	hold := c.mounts["home"].Add(slowfs.Rule{Op: slowfs.Unlink, Name: "catalog.db-wal", Hold: true})
	last.End()
	until(t, "it to give up", func() bool { return !p.running() || len(hold.Hits()) > 0 && p.doomed() })
	hold.End()
	e := p.end()
	c.check(e, 0, args, "stalled: the home "+filepath.Join(c.dir, "home")+" could not be closed")
	if s := summaryOf(t, e); s.Status != "complete" {
		t.Errorf("set %s is %s", s.Set, s.Status)
	}
	c.whole(c.onlySet().Set)
}

// TestSilentVolume has a volume not answer when it is opened, before anything is
// begun: the run gives up and names it.
func TestSilentVolume(t *testing.T) {
	t.Parallel()
	c := newSmall(t, false)
	c.run(c.args...)
	hold := c.mounts["one"].Add(slowfs.Rule{Op: slowfs.Open, Name: "capstan-volume.json", Hold: true})
	args := stalling(c.args...)
	p := c.start(args...)
	until(t, "it to give up", func() bool { return !p.running() || len(hold.Hits()) > 0 && p.doomed() })
	hold.End()
	c.check(p.end(), 1, args, "open "+c.vol+": stalled: a source, the stage or a volume has not answered", "nothing was begun")
	c.complete()
}

// TestFailingTarget has a target that cannot be looked at: that is what is told, and
// not that it were no directory.
func TestFailingTarget(t *testing.T) {
	t.Parallel()
	c := newSmall(t, false)
	c.run(c.args...)
	target := filepath.Join(c.dir, "target")
	failing := c.slowly(target).Add(slowfs.Rule{Op: slowfs.Stat, Errno: unix.EIO})
	c.exits(1, []string{"restore", "latest", "--to", target}, "open restore target "+target+": ", "input/output error")
	failing.End()
	c.run("restore", "latest", "--to", target)
	capstantest.CompareTrees(t, c.data, filepath.Join(target, "data"))
}
