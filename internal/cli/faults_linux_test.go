package cli_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/slowfs"
)

var (
	// faultsOf says which points the fault sweeps play.
	faultsOf = flag.String("faults", "some", "points of the fault sweeps: some (a sample), all (see fault.points), or a number k (every k-th of them)")
	// faultSeed chooses the sample.
	faultSeed = flag.Uint64("faultseed", 4, "seed of the sample of the fault sweeps")
)

// The patience that swept runs are given, and how long a slow operation takes. The
// watchdog looks once a second.
const (
	sweepStall = "1s"
	sweepSlow  = 3 * time.Second
	fullFor    = 20 * time.Second // a stage's disk, where the run waits for it
)

// fault is a way in which operations fail.
type fault struct {
	name string
	ops  []slowfs.Op // that can fail so
	rule slowfs.Rule
	rare bool // takes so long that even the full sweep plays a sample

	// holdsUp says that a command may wait for the fault to go, so that it is given
	// little patience. All others have as much as by default: a stall on a machine that
	// is busy with much else would show nothing.
	holdsUp bool
}

// sweptOps are the kinds that a program asks for; the kernel alone asks for
// attributes before a write, and takes no notice of an error.
func sweptOps() []slowfs.Op {
	return slices.DeleteFunc(slowfs.Ops(), func(op slowfs.Op) bool { return op == slowfs.Getxattr })
}

// fillingOps are the kinds that a full disk can refuse.
func fillingOps() []slowfs.Op {
	return []slowfs.Op{
		slowfs.Create, slowfs.Write, slowfs.Sync, slowfs.SyncDir, slowfs.Close, slowfs.Rename, slowfs.Mkdir, slowfs.Resize, slowfs.Allocate,
		slowfs.Setattr, slowfs.Setxattr, slowfs.Symlink, slowfs.Link, slowfs.Mknod,
	}
}

// faultKinds are the ways to fail, each once or from the n-th operation on.
func faultKinds() []fault {
	all, filling, writes := sweptOps(), fillingOps(), []slowfs.Op{slowfs.Write}
	return []fault{
		{name: "EIO once", ops: all, rule: slowfs.Rule{Errno: unix.EIO, Times: 1}},
		{name: "EIO from there on", ops: all, rule: slowfs.Rule{Errno: unix.EIO}},
		{name: "ENOSPC once", ops: filling, rule: slowfs.Rule{Errno: unix.ENOSPC, Times: 1}},
		{name: "ENOSPC from there on", ops: filling, rule: slowfs.Rule{Errno: unix.ENOSPC}, holdsUp: true},
		{name: "short write", ops: writes, rule: slowfs.Rule{Short: true, Times: 1}},
		{name: "short write, then full", ops: writes, rule: slowfs.Rule{Short: true, Errno: unix.ENOSPC}, holdsUp: true},
		{name: "slow", ops: all, rule: slowfs.Rule{Delay: sweepSlow, Times: 1}, holdsUp: true},
		{name: "hangs", ops: all, rule: slowfs.Rule{Hold: true, Times: 1}, holdsUp: true, rare: true},
	}
}

// scene is a command that is swept, in a place of its own.
type scene struct {
	*crash
	name   string
	args   []string // of the command
	staged bool
	before func(*scene)                 // makes what the command begins with; nil: nothing
	judge  func(*scene, ended, outcome) // looks at what the command did under the fault
	after  func(*scene, ended)          // with the fault gone: again, and all is well
	kept   string                       // a copy of what was there before the command
	traces map[string][]passed          // of clean runs, by place
}

// outcome is what the fault did.
type outcome struct {
	faultPoint
	hits []slowfs.Hit
}

// hit reports whether the fault has met an operation of these kinds.
func (o outcome) hit(ops ...slowfs.Op) bool {
	return slices.ContainsFunc(o.hits, func(h slowfs.Hit) bool { return slices.Contains(ops, h.Op) })
}

// begin makes the scene's place.
func (s *scene) begin(t *testing.T) {
	t.Helper()
	s.crash = newSmall(t, s.staged)
	s.mounts["target"] = s.slowly(filepath.Join(s.dir, "target"))
	if s.args == nil {
		s.args = append(slices.Clone(s.crash.args), "--attempts", "2")
	}
	if s.before != nil {
		s.before(s)
		s.kept = filepath.Join(s.dir, "kept")
		for name, m := range s.mounts {
			s.copy(m.Below+"/.", filepath.Join(s.kept, name))
		}
	}
}

// reset makes everything what it was before the command.
func (s *scene) reset() {
	s.t.Helper()
	for name, m := range s.mounts {
		entries, err := os.ReadDir(m.Below)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, entry := range entries {
			if err := os.RemoveAll(filepath.Join(m.Below, entry.Name())); err != nil {
				s.t.Fatal(err)
			}
		}
		if s.kept != "" {
			s.copy(filepath.Join(s.kept, name)+"/.", m.Below)
		}
	}
}

func (s *scene) copy(from, to string) {
	s.t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.CommandContext(s.t.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil {
		s.t.Fatalf("cp: %v\n%s", err, out)
	}
}

// faultPoint is where a fault begins.
type faultPoint struct {
	at    string
	fault fault
	ops   []slowfs.Op
	name  string // pattern of the file's name; empty: any
	n     int    // of these operations, from 1
}

func (p faultPoint) String() string {
	of := "any"
	if len(p.ops) == 1 {
		of = string(p.ops[0])
	}
	if p.name != "" {
		of += " of " + p.name
	}
	return fmt.Sprintf("%s %d in %s", of, p.n, p.at)
}

// play runs the command with a fault, and judges, as a test of its own. It reports
// whether the fault has met an operation, and whether all was well.
func (s *scene) play(t *testing.T, point faultPoint) (met, well bool) {
	t.Helper()
	well = t.Run(point.String(), func(t *testing.T) {
		before := s.t
		s.t = t
		defer func() { s.t = before }()
		met = s.conclude(s.launch(point))
	})
	return met, well
}

// faulted is a command that runs under a fault.
type faulted struct {
	faultPoint
	rule    *slowfs.Active
	program *program
}

// launch starts the command with a fault in force.
func (s *scene) launch(point faultPoint) faulted {
	s.t.Helper()
	s.reset()
	rule := point.fault.rule
	rule.Ops, rule.Name, rule.After = point.ops, point.name, point.n-1
	args := slices.Clone(s.args)
	if point.fault.holdsUp {
		args = append(args, "--stall-warn", sweepStall, "--stall-fail", sweepStall)
	}
	return faulted{point, s.mounts[point.at].Add(rule), s.start(args...)}
}

// conclude waits for the end of the command and judges what it did. It reports
// whether the fault has met an operation.
func (s *scene) conclude(f faulted) (met bool) {
	s.t.Helper()
	if f.fault.rule.Hold {
		s.outlasts(f.program, f.rule, false)
	}
	if f.at == "stage" && f.fault.lasts() && f.fault.holdsUp && f.program.within(fullFor) {
		f.rule.End() // a stage that is full is waited for, as long as it takes
	}
	e := f.program.end()
	f.rule.End()
	did := outcome{faultPoint: f.faultPoint}
	for len(f.rule.Hits()) > 0 {
		did.hits = append(did.hits, <-f.rule.Hits())
	}
	t := s.t
	t.Cleanup(func() {
		if t.Failed() {
			t.Errorf("%s, at %+v: exit %d:\n%s%s", f.fault.name, first(did.hits, 3), e.code, finalLine(e.out), e.err)
		}
	})
	if e.code == -1 || strings.Contains(e.err, "panic:") {
		t.Errorf("it died")
	}
	s.judge(s, e, did)
	s.after(s, e)
	return len(did.hits) > 0
}

// outlasts lets go an operation that hangs once the program has ended but for it,
// as far as the system lets it end. Met says that it is known to hang already.
func (c *crash) outlasts(p *program, hold *slowfs.Active, met bool) {
	c.t.Helper()
	deadline := time.NewTimer(verdict)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for p.running() && (!met && len(hold.Hits()) == 0 || !p.doomed()) {
		select {
		case <-poll.C:
		case <-deadline.C:
			c.t.Errorf("it hangs where an operation does not come to its end")
			hold.End()
			return
		}
	}
	hold.End()
}

func first[T any](all []T, n int) []T { return all[:min(n, len(all))] }

func finalLine(text string) string {
	lines := slices.Collect(strings.Lines(text))
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// stride is the distance between two n that are played; 0: a sample is.
func stride(t *testing.T) int {
	t.Helper()
	switch *faultsOf {
	case "some":
		return 0
	case "all":
		return 1
	}
	k, err := strconv.Atoi(*faultsOf)
	if err != nil || k < 1 {
		t.Fatalf("-faults=%s: give some, all, or a number from 1", *faultsOf)
	}
	return k
}

// sweep plays a fault at a place: at all its points, every k-th of them, or one.
func (s *scene) sweep(t *testing.T, at string, f fault) {
	t.Helper()
	step := stride(t)
	if step == 0 {
		random := rand.New(rand.NewPCG(*faultSeed, uint64(len(s.name)+len(at)*10+len(f.name)*100)))
		for _, point := range s.sample(at, f, random) {
			s.play(t, point)
		}
		return
	}
	all := f.points(at, s.traced(at))
	bad, played, unmet := 0, 0, 0
	for i := int(*faultSeed) % step; i < len(all) && bad < 20; i += step {
		met, well := s.play(t, all[i])
		played++
		if !well {
			bad++
		} else if !met {
			unmet++
		}
	}
	t.Logf("%d of %d points; %d were not come to", played, len(all), unmet)
	if unmet > 5+played/4 {
		t.Error("the runs do not come to the operations that a clean one had")
	}
}

// traced gives the operations of a clean run.
func (s *scene) traced(at string) []passed {
	s.t.Helper()
	if s.traces == nil {
		s.traces = map[string][]passed{}
	}
	if s.traces[at] == nil {
		s.traces[at] = s.trace(at)
	}
	return s.traces[at]
}

// sample chooses points of a fault at a place: one of an operation that is drawn or,
// where all are played, one of each kind of operation.
func (s *scene) sample(at string, f fault, random *rand.Rand) (points []faultPoint) {
	s.t.Helper()
	of := map[slowfs.Op][]faultPoint{}
	for _, p := range f.points(at, s.traced(at)) {
		of[p.ops[0]] = append(of[p.ops[0]], p)
	}
	kinds := slices.Sorted(maps.Keys(of))
	if stride(s.t) != 1 {
		random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		kinds = first(kinds, 1)
	}
	for _, op := range kinds {
		points = append(points, of[op][random.IntN(len(of[op]))])
	}
	return points
}
