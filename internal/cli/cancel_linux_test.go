package cli_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/slowfs"
)

// runLine is a run as `runs --json` prints it.
type runLine struct {
	Run    int    `json:"run"`
	Kind   string `json:"kind"`
	Status string `json:"status"`
	PID    int    `json:"pid"`
	Gone   bool   `json:"process_gone"`
}

// lastRun is the newest run; it has number 0 where there is none.
func (f *field) lastRun() (last runLine) {
	f.t.Helper()
	for line := range strings.Lines(f.run("runs", "--json")) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			f.t.Fatal(err)
		}
	}
	return last
}

// TestCancelHungSource cancels a backup whose source does not answer any more: it
// ends all the same, and whoever watches it ends with it.
func TestCancelHungSource(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 31)
	huge := (&hugeFile{size: 12 << 20, stall: 4 << 20}).mount(t, filepath.Join(f.data, "zzz"))
	backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}
	p := f.start(backup...)
	until(t, "the source to hang", func() bool {
		select {
		case <-huge.stalled:
			return true
		default:
			return !p.running()
		}
	})
	watching := f.start("watch", "--json")
	watching.says(`"type":"progress","run":1`)
	begun := time.Now()
	f.exits(0, []string{"cancel", "1", "--wait"}, "run 1 (process ", "is asked to stop, by ", "run 1 is cancelled")
	t.Logf("cancelled in %s", time.Since(begun))
	if p.within(verdict / 2) {
		t.Error("it waits for a source that does not answer")
		huge.goOn()
	}
	f.check(p.end(), 130, backup, "error: run 1: cancelled by ", "what is sealed is kept; the next run of its job resumes")
	f.check(watching.end(), 130, watching.args, "run 1: cancelled by ")
	if run := f.lastRun(); run.Run != 1 || run.Status != "cancelled" || run.PID != 0 {
		t.Errorf("the run is %+v", run)
	}
	f.stopped(f.onlySet(), false)
	huge.goOn()
	f.run(backup...)
	f.whole(f.onlySet().Set)
}

// TestCancelHungRestore cancels a restore and a verification while the volume does
// not answer: the catalog says at once how they ended.
func TestCancelHungRestore(t *testing.T) {
	t.Parallel()
	for kind, command := range map[string][]string{"restore": {"restore", "latest", "--to"}, "verify": {"verify", "--read-data"}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			garden(t, f.data, 31)
			m := f.slowly(f.vol)
			f.run("backup", f.data, "--to", f.vol, "--archive-size", "1MiB")
			if kind == "restore" {
				command = append(command, filepath.Join(f.dir, "back"))
			}
			hold := m.Add(slowfs.Rule{Op: slowfs.Read, Name: "backup_*", After: 3, Hold: true})
			p := f.start(command...)
			if _, ok := p.hits(hold); !ok {
				t.Fatal(p.end().err)
			}
			if run := f.lastRun(); run.Run != 2 || run.Kind != kind || run.Status != "running" || run.PID != p.cmd.Process.Pid {
				t.Errorf("the run is %+v", run)
			}
			f.exits(0, []string{"cancel", "2", "--wait"}, "run 2 is cancelled")
			hold.End()
			f.check(p.end(), 130, command, "run 2: cancelled by ")
			f.exits(130, []string{"watch", "2"}, "run 2: cancelled by ")
			f.exits(1, []string{"cancel", "2"}, "it is over: cancelled since ", "nothing was changed")
		})
	}
}

// TestCancelOfADeadRun kills a run: who watches it is told, cancel marks it, and
// the next call resumes.
func TestCancelOfADeadRun(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 31)
	backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}
	m := f.slowly(f.vol)
	hold := m.Add(slowfs.Rule{Op: slowfs.Rename, Name: "backup_*_0002.*", Hold: true, Errno: unix.EIO})
	p := f.start(backup...)
	if _, ok := p.hits(hold); !ok {
		t.Fatal(p.end().err)
	}
	watching := f.start("watch", "1", "--json")
	watching.says(`"type":"progress","run":1`)
	p.kill(hold)
	f.check(watching.end(), 130, watching.args, "run 1: process ", " is gone, it was last heard of at ", "the next run of its job resumes")
	if run := f.lastRun(); run.Status != "running" || !run.Gone {
		t.Errorf("the run is %+v", run)
	}
	f.exits(10, []string{"watch"}, "none is running")
	f.exits(0, []string{"cancel", "1"}, "the process of run 1 (process ", ") is gone", "the run is marked as interrupted; the next run of its job resumes")
	if run := f.lastRun(); run.Status != "interrupted" || run.Gone {
		t.Errorf("the run is %+v", run)
	}
	if set := f.onlySet(); set.Status != "interrupted" {
		t.Errorf("the set is %s", set.Status)
	}
	f.exits(1, []string{"cancel", "1"}, "it is over: interrupted since ")
	f.run(backup...)
	f.whole(f.onlySet().Set)
}
