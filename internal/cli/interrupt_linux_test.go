package cli_test

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// interruptedRounds are played with each signal.
const interruptedRounds = 14

// interruption is one round: a backup, ended by signals at moments of its life,
// and what must be true afterwards.
type interruption struct {
	*field
	mount   *slowfs.Mount // of the volume
	random  *rand.Rand
	signal  syscall.Signal
	changes bool // the source changes before each call

	interrupted, resumed, adopted int // calls, calls, archives
}

// call starts a backup and sends the signal at some moment: before the first archive is
// sealed, when any other is being sealed, when the set's own files are written after the
// last; while an operation is under way, or a moment after it. It gives how the program
// ended.
func (r *interruption) call() ended {
	r.t.Helper()
	const all = 8 // archives of the tree
	sealed, err := filepath.Glob(filepath.Join(r.vol, "20*_*", "backup_*.tar.zst"))
	if err != nil {
		r.t.Fatal(err)
	}
	rule := slowfs.Rule{Op: slowfs.Rename, Name: "backup_*", Hold: true, Late: r.random.IntN(2) == 0}
	if r.signal == unix.SIGKILL && !rule.Late {
		rule.Errno = unix.EIO // for a process that is dead
	}
	if rule.After = r.random.IntN(max(all-len(sealed), 0) + 1); rule.After+len(sealed) >= all {
		rule.Name, rule.After = "SHA256SUMS", 0
	}
	hold := r.mount.Add(rule)
	p := r.start("backup", r.data, "--to", r.vol, "--archive-size", "1MiB", "--json")
	if _, ok := p.hits(hold); !ok {
		hold.End()
		return p.end()
	}
	if rule.Errno == 0 && r.random.IntN(4) == 0 { // it goes on until the signal comes
		hold.End()
		p.within(time.Duration(r.random.Int64N(int64(30 * time.Millisecond))))
	}
	p.endedBy(r.signal, hold)
	return p.end()
}

// endedBy sends a signal while a rule holds an operation of the program, unless that has
// ended, and lets go what is held when it has been heard.
func (p *program) endedBy(signal syscall.Signal, hold *slowfs.Active) {
	p.t.Helper()
	if signal == unix.SIGKILL {
		p.signal(signal)
		until(p.t, "the threads that wait for nothing to be dead", func() bool { return !p.running() || p.doomed() })
	} else {
		p.told(signal)
	}
	hold.End()
}

// judge checks what a disturbed call left. It gives the set that the next call
// must go on with; empty if it may begin a new one.
func (r *interruption) judge(e ended, before []setLine) (resumable string) {
	r.t.Helper()
	sets := r.sets()
	killed := r.signal == unix.SIGKILL && e.code == -1
	switch {
	case e.code == 0 || killed:
	case r.signal == unix.SIGKILL || e.code != 130:
		r.t.Errorf("exit %d after %s:\n%s%s", e.code, r.signal, e.out, e.err)
	}
	if len(sets) == 0 {
		if e.code == 0 {
			r.t.Error("exit 0, and no set")
		}
		return ""
	}
	if len(sets) > len(before)+1 {
		r.t.Errorf("%d sets after %d", len(sets), len(before))
	}
	last := r.show(sets[len(sets)-1].Set)
	more := r.truthful(last)
	switch last.Status {
	case "complete":
		if e.code != 0 && !killed { // the signal may come when all is done
			r.t.Logf("set %s is complete, exit %d", last.Set, e.code)
		}
		if len(more) > 0 {
			r.t.Errorf("on the volume and not recorded: %q", more)
		}
		return ""
	case "interrupted", "running":
		if e.code == 0 {
			r.t.Errorf("exit 0, but set %s is %s", last.Set, last.Status)
		}
		if !killed {
			r.stopped(last, len(before) > 0)
		}
		return last.Set
	default:
		r.t.Errorf("set %s is %s", last.Set, last.Status)
		return ""
	}
}

// change lets some of the source change between two calls.
func (r *interruption) change(n int) {
	r.t.Helper()
	gone := filepath.Join(r.data, "small", fmt.Sprintf("dir-%02d", r.random.IntN(17)))
	if err := os.RemoveAll(gone); err != nil {
		r.t.Fatal(err)
	}
	for _, victim := range []string{"large", "empty file", filepath.Join("small", fmt.Sprintf("dir-%02d", r.random.IntN(17)), "new")} {
		if r.random.IntN(2) == 0 {
			write(r.t, filepath.Join(r.data, victim), noise(uint64(n), r.random.IntN(3<<20)))
		}
	}
	if err := os.Remove(filepath.Join(r.data, "zz", "middle")); err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
}

// round disturbs up to three calls, lets one end, and looks at everything. It
// gives the set that is complete then.
func (r *interruption) round() (set string) {
	r.t.Helper()
	resumable := ""
	for n := range 1 + r.random.IntN(3) {
		before := r.sets()
		e := r.call()
		now := r.judge(e, before)
		if resumable != "" && now != "" && now != resumable {
			r.t.Errorf("set %s was begun, though %s was to be resumed", now, resumable)
		}
		if resumable = now; e.code == 0 {
			break
		}
		r.interrupted++
		if r.changes {
			r.change(n)
		}
	}
	before := map[string]onDisk{}
	if resumable != "" && !r.changes { // what holds entries that are gone is packed again
		for _, a := range r.show(resumable).Archives {
			before[a.Name] = archives(r.t, r.vol, resumable)[a.Name]
		}
	}
	end := r.exits(0, []string{"backup", r.data, "--to", r.vol, "--archive-size", "1MiB", "--json"})
	last := summaryOf(r.t, end)
	for name := range takenBack(r.t, end, slices.Sorted(maps.Keys(before))) {
		delete(before, name)
	}
	now := archives(r.t, r.vol, last.Set)
	for name, file := range before {
		if now[name] != file {
			r.t.Errorf("%s was sealed and is written again", name)
		}
	}
	r.adopted += len(before)
	if last.Resumed {
		r.resumed++
	}
	if resumable != "" && (last.Set != resumable || !last.Resumed) {
		r.t.Errorf("resumed %v as %s, want %s", last.Resumed, last.Set, resumable)
	}
	if sum := last.Stored + last.Changed + last.Unchanged + last.Excluded + last.Vanished + last.Failed; sum != last.Entries {
		r.t.Errorf("%d entries, but the outcomes add up to %d", last.Entries, sum)
	}
	r.whole(last.Set)
	return last.Set
}

// takenBack gives those of the archives that a resumed run packs again, since they
// are the last ones and hold parts of a file that it found cut off; it says how many.
func takenBack(t *testing.T, e ended, archives []string) iter.Seq[string] {
	t.Helper()
	number, _, found := strings.Cut(e.err, " sealed archives hold parts of a file")
	if !found || len(archives) == 0 {
		return slices.Values(archives[:0])
	}
	n, err := strconv.Atoi(number[strings.LastIndexByte(number, '\n')+1:])
	if err != nil || n > len(archives) {
		t.Fatalf("of %d archives (%v):\n%s", len(archives), err, e.err)
	}
	return slices.Values(archives[len(archives)-n:])
}

// TestInterrupted ends backups by signals at all moments, from the first to the
// last. The next call goes on where they ended.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL} {
		t.Run(unix.SignalName(signal), func(t *testing.T) {
			t.Parallel()
			var interrupted, resumed, adopted int
			for n := range interruptedRounds {
				f := newField(t)
				garden(t, f.data, 30)
				stock := n%5 == 0
				if stock { // tar complains of this link before RESTORE.txt makes it
					if err := os.Remove(filepath.Join(f.data, splitLink)); err != nil {
						t.Fatal(err)
					}
				}
				r := &interruption{
					field: f, mount: f.slowly(f.vol), random: rand.New(rand.NewPCG(uint64(signal), uint64(n))), signal: signal,
					changes: !stock && n%3 == 2,
				}
				set := r.round()
				if stock {
					target := filepath.Join(f.dir, "stock")
					stockRestore(t, filepath.Join(f.vol, set), target)
					capstantest.CompareTrees(t, f.data, filepath.Join(target, "data"), capstantest.IgnoreTimes(), capstantest.IgnoreHoles())
				}
				if t.Failed() {
					t.Fatalf("round %d", n)
				}
				interrupted += r.interrupted
				resumed += r.resumed
				adopted += r.adopted
				r.mount.End()
				if err := unix.Unmount(r.mount.Below, unix.MNT_DETACH); err != nil {
					t.Fatal(err)
				}
				capstantest.RemoveAll(t, f.dir)
			}
			t.Logf("%d calls were interrupted, %d resumed, %d sealed archives adopted", interrupted, resumed, adopted)
			if interrupted < interruptedRounds/2 || resumed < interruptedRounds/3 || adopted == 0 {
				t.Errorf("%d calls interrupted, %d resumed, %d archives adopted in %d rounds: this shows too little",
					interrupted, resumed, adopted, interruptedRounds)
			}
		})
	}
}

// TestSecondSignal interrupts a backup whose source has hung up: the second signal
// ends it at once, and the set is resumed when the source is back.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for _, second := range []syscall.Signal{unix.SIGINT, unix.SIGTERM} {
		t.Run(unix.SignalName(second), func(t *testing.T) {
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
			p.signal(unix.SIGINT)
			if p.within(500 * time.Millisecond) { // it waits for what does not come
				begin := time.Now()
				p.signal(second)
				f.check(p.end(), 130, backup)
				if d := time.Since(begin); d > verdict/2 {
					t.Errorf("the second signal took %s", d)
				}
			} else {
				f.check(p.end(), 130, backup)
			}
			f.truthful(f.onlySet())
			huge.goOn()
			f.run(backup...)
			f.whole(f.onlySet().Set)
		})
	}
}

// TestTimeout lets backups run for a moment each, until one is through.
func TestTimeout(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 33)
	write(t, filepath.Join(f.data, "zzz"), noise(34, 8<<20))
	limit := 20 * time.Millisecond
	interrupted := 0
	for {
		e := f.try("backup", f.data, "--to", f.vol, "--archive-size", "1MiB", "--timeout", limit.String())
		if e.code == 0 {
			break
		}
		if e.code != 130 || !strings.Contains(e.err, "--timeout") || !strings.Contains(e.err, "resumes") {
			t.Fatalf("exit %d:\n%s%s", e.code, e.out, e.err)
		}
		interrupted++
		for _, set := range f.sets() {
			f.stopped(f.show(set.Set), interrupted > 1)
		}
		if t.Failed() {
			t.Fatalf("this came before:\n%s%s", e.out, e.err)
		}
		if limit += limit / 4; interrupted > 60 {
			t.Fatalf("not done in %d calls of up to %s", interrupted, limit)
		}
	}
	if interrupted < 2 {
		t.Errorf("%d calls were cut: this shows nothing", interrupted)
	}
	f.whole(f.onlySet().Set)
}

// TestInterruptedRestore ends restores by signals while they read, each at another place:
// nothing that is not whole bears its name, and --overwrite completes the tree.
func TestInterruptedRestore(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 35)
	m := f.slowly(f.vol)
	f.run("backup", f.data, "--to", f.vol, "--archive-size", "1MiB")
	back := filepath.Join(f.dir, "back")
	before := m.Counts()[slowfs.Read]
	f.run("restore", "latest", "--to", back)
	reads := m.Counts()[slowfs.Read] - before
	interrupted := 0
	random := rand.New(rand.NewPCG(36, 36))
	for n := range 12 {
		capstantest.RemoveAll(t, back)
		signal := [...]syscall.Signal{unix.SIGKILL, unix.SIGINT, unix.SIGTERM}[n%3]
		hold := m.Add(slowfs.Rule{Op: slowfs.Read, After: random.IntN(reads * 3 / 4), Hold: true})
		p := f.start("restore", "latest", "--to", back)
		if _, ok := p.hits(hold); ok {
			interrupted++
			if n%4 == 3 { // it goes on until the signal comes
				hold.End()
				p.within(time.Duration(random.Int64N(int64(5 * time.Millisecond))))
			}
		}
		p.endedBy(signal, hold)
		if e := p.end(); e.code != 0 && (signal == unix.SIGKILL) != (e.code == -1) || e.code > 0 && e.code != 130 {
			t.Errorf("exit %d after %s:\n%s%s", e.code, signal, e.out, e.err)
		}
		if _, err := os.Lstat(back); err == nil {
			wholeFiles(t, f.data, filepath.Join(back, "data"))
		}
		f.run("restore", "latest", "--to", back, "--overwrite")
		capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
	}
	if interrupted < 6 {
		t.Errorf("%d restores were interrupted: this shows too little", interrupted)
	}
}
