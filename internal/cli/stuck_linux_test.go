package cli_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/slowfs"
)

// TestStuckVolume stops one of two volumes in the middle of a write. It is named in
// time, cut off with its cause, and the other volume gets the whole set; later a
// retry brings it to the first one, from the stage.
func TestStuckVolume(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.copies = 2
	garden(t, f.data, 31)
	f.inMemory(f.vol, filepath.Join(f.dir, "home"))
	stuck := filepath.Join(f.dir, "stuck")
	m := f.slowly(stuck)
	hold := m.Add(slowfs.Rule{Op: slowfs.Write, Name: "backup_*", After: 3, Hold: true})
	backup := []string{
		"backup", f.data, "--to", f.vol, "--to", stuck, "--archive-size", "1MiB",
		"--stall-warn", "1s", "--stall-fail", "5s", "--log-file", filepath.Join(f.dir, "log"),
	}
	p := f.start(backup...)
	if _, ok := p.hits(hold); !ok {
		t.Fatal(p.end().err)
	}
	until(t, "the program to be over, but for a write that the kernel does not let go", func() bool { return !p.running() || p.doomed() })
	if !p.running() {
		t.Error("it ended while a write hangs that the kernel does not let go")
	}
	hold.End()
	f.check(p.end(), 3, backup,
		"stalled: stage copy to "+stuck+" has been waiting for volume ("+stuck+")",
		"cut off: stage copy to "+stuck,
		"the stacks are in ",
		"volume "+stuck+" is given up for this run",
		"when the volume is well again: capstan retry 1",
	)
	set := f.onlySet()
	if set.Status != "partial" {
		t.Errorf("the set is %s, want partial", set.Status)
	}
	f.run("retry", "1")
	if set = f.onlySet(); set.Status != "complete" {
		t.Errorf("after the retry the set is %s, want complete", set.Status)
	}
	f.whole(set.Set)
	f.vol = stuck
	f.whole(set.Set)
}

// TestStoppedVolumeOfTwo stops the server of one of two volumes, as SIGSTOP does, in
// the middle of a write: there, not even a name can be looked up. It is named in
// time, cut off with its cause, and the other volume gets the whole set; a retry
// brings it to the first when its server goes on.
func TestStoppedVolumeOfTwo(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.copies = 2
	garden(t, f.data, 31)
	f.inMemory(f.vol, filepath.Join(f.dir, "home"))
	stopped := filepath.Join(f.dir, "stopped")
	m := f.slowly(stopped)
	mark := m.Add(slowfs.Rule{Op: slowfs.Write, Name: "*_0004.*", Hold: true}) // until the server stands still
	backup := []string{
		"backup", f.data, "--to", f.vol, "--to", stopped, "--archive-size", "1MiB", "--stall-warn", "1s", "--stall-fail", "5s",
	}
	p := f.start(backup...)
	if _, ok := p.hits(mark); !ok {
		t.Fatal(p.end().err)
	}
	m.Stop()
	until(t, "the other volume to have the set, and the stacks to be kept", func() bool {
		return exists(filepath.Join(f.vol, "2*", "SHA256SUMS.sig")) && exists(filepath.Join(f.dir, "home", "log", "stall-*.txt"))
	})
	// Who does not need the volume is not held up by it.
	until(t, "the volume to be given up", func() bool { return f.onlySet().Status == "partial" })
	m.Continue()
	mark.End()
	f.check(p.end(), 3, backup,
		"stalled: stage copy to "+stopped+" has been waiting for volume ("+stopped+")",
		"cut off: stage copy to "+stopped, "at backup_2",
		"volume "+stopped+" is given up for this run",
		"when the volume is well again: capstan retry 1",
	)
	f.run("retry", "1")
	set := f.onlySet()
	f.whole(set.Set)
	f.vol = stopped
	f.whole(set.Set)
}

// TestStalledVolume stops the only volume in the middle of a write: the run is told
// of, cancelled with what stands still as its cause, and resumed by the next call.
func TestStalledVolume(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 31)
	f.inMemory(filepath.Join(f.dir, "home"))
	m := f.slowly(f.vol)
	hold := m.Add(slowfs.Rule{Op: slowfs.Write, Name: "backup_*", After: 3, Hold: true})
	backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB", "--stall-warn", "1s", "--stall-fail", "5s"}
	p := f.start(backup...)
	if _, ok := p.hits(hold); !ok {
		t.Fatal(p.end().err)
	}
	until(t, "the stacks to be kept", func() bool { return exists(filepath.Join(f.dir, "home", "log", "stall-*.txt")) })
	hold.End()
	f.check(p.end(), 1, backup,
		"stalled: stage write has been waiting for volume ("+f.vol+") for",
		"safe: sealed archives are on the volume; next: it is cut off after 5s; look at what it waits for",
		"error: run: stalled: stage write", "the stacks are in ",
	)
	f.stopped(f.onlySet(), false)
	f.run(backup...)
	f.whole(f.onlySet().Set)
}

// stalling are the words that make a command give up soon, though not as soon as a
// machine that is busy with much else may stand still.
func stalling(args ...string) []string {
	return append(args, "--stall-warn", "5s", "--stall-fail", "10s")
}

// TestStalledClaim lets the claim of a set's name take longer than the run may
// stand still. It happens after all, and what it has made is taken away again.
func TestStalledClaim(t *testing.T) {
	t.Parallel()
	c := newSmall(t, false)
	hold := c.mounts["one"].Add(slowfs.Rule{Op: slowfs.Rename, Name: "20??-*", Hold: true})
	args := stalling(c.args...)
	p := c.start(args...)
	if _, ok := p.hits(hold); !ok {
		t.Fatal(p.end().err)
	}
	until(t, "the stacks to be kept", func() bool { return exists(filepath.Join(c.dir, "home", "log", "stall-*.txt")) })
	hold.End()
	c.check(p.end(), 1, args, "stalled: stage begin has been waiting for volume to answer ("+c.vol+")")
	if found := everything(t, c.vol); len(found) != 1 {
		t.Errorf("on the volume: %q", found)
	}
	c.complete()
}

// TestFullStageAtSeal fills the disk of the stage when an archive is to be renamed:
// it is told which one waits, and for what.
func TestFullStageAtSeal(t *testing.T) {
	t.Parallel()
	c := newSmall(t, true)
	full := c.mounts["stage"].Add(slowfs.Rule{Op: slowfs.Rename, Name: "*_0002.*", Errno: unix.ENOSPC})
	args := stalling(c.args...)
	c.exits(1, args,
		"stalled: stage write has been waiting for space (",
		"error: run: stalled: stage commit has been waiting for volume ("+filepath.Join(c.dir, "stage")+") for", "at backup_2")
	full.End()
	c.complete()
}

// TestStalledVerify has a file of a set not be found for longer than a verification
// may stand still: it is told where.
func TestStalledVerify(t *testing.T) {
	t.Parallel()
	c := newSmall(t, false)
	c.run(c.args...)
	hold := c.mounts["one"].Add(slowfs.Rule{Op: slowfs.Lookup, Name: "RESTORE.txt", Hold: true})
	args := stalling("verify")
	p := c.start(args...)
	until(t, "the stacks to be kept", func() bool {
		return !p.running() || exists(filepath.Join(c.dir, "home", "log", "stall-*.txt"))
	})
	hold.End()
	c.check(p.end(), 1, args, "stalled: stage verify has made no progress", " on "+c.vol)
	c.run("verify", "--read-data")
}

func exists(pattern string) bool {
	found, err := filepath.Glob(pattern)
	return err == nil && len(found) > 0
}
