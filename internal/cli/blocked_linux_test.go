package cli_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/slowfs"
)

// slowly mounts a slow filesystem at dir; what it shows lies beside it, in memory: it is
// slow by its rules alone, and no sync waits for a disk that is busy with much else.
func (f *field) slowly(dir string) *slowfs.Mount {
	f.t.Helper()
	below := dir + " below"
	f.inMemory(below)
	m := slowfs.Start(f.t, below, dir)
	f.slow = append(f.slow, m)
	return m
}

// inMemory makes directories that wait for no disk, for what is to notice a stall: a
// disk that others use, too, stands still for longer than a test can wait.
func (f *field) inMemory(dirs ...string) {
	f.t.Helper()
	for _, dir := range dirs {
		mountTmpfs(f.t, dir, "size=4g")
	}
}

// hits waits until an operation of the program meets a rule, and reports whether
// that was before its end.
func (p *program) hits(rule *slowfs.Active) (hit slowfs.Hit, ok bool) {
	p.t.Helper()
	timer := time.NewTimer(verdict)
	defer timer.Stop()
	select {
	case hit = <-rule.Hits():
		return hit, true
	case <-p.done:
	case <-timer.C:
		p.t.Error("no operation meets the rule")
	}
	return hit, false
}

// TestBlockedVolume interrupts backups while an operation on the volume does not
// come to its end. Once it does, the run ends as interrupted runs do, and the next
// call completes the set.
func TestBlockedVolume(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]slowfs.Rule{
		"create":  {Op: slowfs.Create, Name: "backup_*", After: 3},
		"write":   {Op: slowfs.Write, Name: "backup_*", After: 5},
		"sync":    {Op: slowfs.Sync, Name: "backup_*", After: 3},
		"rename":  {Op: slowfs.Rename, Name: "backup_*", After: 3},
		"renamed": {Op: slowfs.Rename, Name: "backup_*", After: 3, Late: true},
		"syncdir": {Op: slowfs.SyncDir, Name: "20*", After: 4},
		"close":   {Op: slowfs.Close, Name: "backup_*", After: 4},
		"free":    {Op: slowfs.Free, After: 3},
		"sums":    {Op: slowfs.Rename, Name: "SHA256SUMS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			garden(t, f.data, 31)
			m := f.slowly(f.vol)
			rule.Hold = true
			hold := m.Add(rule)
			backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}
			p := f.start(backup...)
			if _, ok := p.hits(hold); !ok {
				t.Fatal(p.end().err)
			}
			p.told(unix.SIGINT)
			hold.End()
			f.check(p.end(), 130, backup)
			f.stopped(f.onlySet(), false)
			if name == "write" {
				failing := m.Add(slowfs.Rule{Op: slowfs.Write, Name: "backup_*", Errno: unix.EIO})
				f.exits(1, backup, "input/output error")
				failing.End()
				f.stopped(f.onlySet(), false)
			}
			f.run(backup...)
			f.whole(f.onlySet().Set)
			m.End()
			f.vol = m.Below // what lies there is what was shown
			if more := f.truthful(f.onlySet()); len(more) > 0 {
				t.Errorf("beside what is recorded: %q", more)
			}
		})
	}
}

// TestStoppedVolume stops the server of the volume in the middle of a backup and
// lets it go on: nothing is lost by that. Commands that do not need the volume answer
// meanwhile.
func TestStoppedVolume(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 31)
	m := f.slowly(f.vol)
	mark := m.Add(slowfs.Rule{Op: slowfs.Rename, Name: "*_0004.*", Hold: true}) // until the server stands still
	backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}
	p := f.start(backup...)
	if _, ok := p.hits(mark); !ok {
		t.Fatal(p.end().err)
	}
	m.Stop()
	if !p.within(2 * time.Second) {
		t.Error("it has ended though its volume does not answer")
	}
	f.show(f.onlySet().Set)
	f.run("runs")
	m.Continue()
	mark.End()
	f.check(p.end(), 0, backup)
	f.whole(f.onlySet().Set)
}
