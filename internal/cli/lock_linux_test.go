package cli_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// prose gives text of n bytes that compresses to about a quarter.
func prose(seed uint64, n int) []byte {
	words := strings.Fields(`spindle pulls tape past head constant speed copy volume archive catalog set
		source entry run sealed frame index drive label pool retention restore verify manifest lock`)
	text := make([]byte, 0, n+16)
	for _, b := range noise(seed, n/4+1) {
		text = append(text, words[int(b)%len(words)]...)
		text = append(text, " \n"[int(b)/250])
	}
	return text[:n]
}

// TestLockedJob starts a job a second time while it runs: the second is refused
// and says who runs it. Other jobs of the home are not held up.
func TestLockedJob(t *testing.T) {
	t.Parallel()
	f := newField(t)
	write(t, filepath.Join(f.data, "text"), prose(40, 12<<20))
	other := filepath.Join(f.dir, "other")
	garden(t, other, 41)
	m := f.slowly(f.vol)
	slow := []string{"backup", f.data, "--to", f.vol, "--level", "3", "--archive-size", "1MiB"}
	// No other operation is held: the other job uses the volume.
	second := slowfs.Rule{Op: slowfs.Rename, Name: "backup_*_0002.*", Times: 1, Hold: true}
	hold := m.Add(second)
	first := f.start(slow...)
	if _, ok := first.hits(hold); !ok {
		t.Fatal(first.end().err)
	}
	holder := fmt.Sprintf("process %d", first.cmd.Process.Pid)
	f.exits(11, slow, holder)
	f.exits(11, []string{"backup", f.data, "--to", f.vol}, holder) // the same job with other settings
	f.run("backup", other, "--to", f.vol)
	if !first.running() {
		t.Error("the first run is over: this shows nothing")
	}
	for _, args := range [][]string{{"sets"}, {"ls", "latest"}, {"verify"}, {"catalog", "check"}} {
		f.run(args...)
	}
	first.told(unix.SIGINT)
	hold.End()
	f.check(first.end(), 130, slow)

	// The lock is gone with its holder, also if that is killed.
	if killed, e := f.killedAt(m, slowfs.Rule{Op: slowfs.Rename, Name: "backup_*", After: 1}, (*exec.Cmd).Start, slow...); !killed {
		t.Fatalf("it ended before: exit %d\n%s", e.code, e.err)
	}
	f.run("backup", f.data, "--to", f.vol, "--archive-size", "1MiB")
	sets := f.sets()
	if len(sets) != 2 {
		t.Errorf("%d sets, want 2: %+v", len(sets), sets)
	}
	for _, set := range sets {
		if set.Status != "complete" {
			t.Errorf("set %s is %s", set.Set, set.Status)
		}
	}
}

// TestSideBySide runs jobs of one home at the same time, on one volume and on two.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	f := newField(t)
	const jobs = 4
	volumes := [jobs]string{f.vol, f.vol, filepath.Join(f.dir, "vol 2"), filepath.Join(f.dir, "vol 2")}
	for i := range jobs {
		garden(t, filepath.Join(f.dir, fmt.Sprintf("data-%d", i)), uint64(50+i))
	}
	for round := range 2 {
		var running [jobs]*program
		for i := range jobs {
			running[i] = f.start("backup", fmt.Sprintf("data-%d", i), "--to", volumes[i], "--archive-size", "1MiB", "--json")
		}
		again := f.start("backup", "data-0", "--to", volumes[0], "--archive-size", "1MiB", "--json")
		seen := map[string]bool{}
		for i, p := range running {
			e := p.end()
			if i == 0 {
				// One of the two calls for this job was first; the other was refused, or
				// began when it was over.
				if second := again.end(); e.code == 11 {
					e = second
				} else if second.code != 0 && second.code != 11 {
					t.Errorf("exit %d:\n%s%s", second.code, second.out, second.err)
				}
			}
			f.check(e, 0, p.args)
			s := summaryOf(t, e)
			if s.Status != "complete" || seen[s.Set] {
				t.Errorf("job %d: set %s is %s, sets so far: %v", i, s.Set, s.Status, seen)
			}
			seen[s.Set] = true
			back := filepath.Join(f.dir, fmt.Sprintf("back-%d-%d", round, i))
			f.run("restore", s.Set, "--to", back)
			capstantest.CompareTrees(t, filepath.Join(f.dir, fmt.Sprintf("data-%d", i)), filepath.Join(back, fmt.Sprintf("data-%d", i)))
		}
	}
	f.run("verify", "--read-data")
	f.run("catalog", "check")
}
