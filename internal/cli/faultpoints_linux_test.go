package cli_test

import (
	"path"
	"regexp"
	"slices"

	"capstan/internal/capstantest/slowfs"
)

// passed is an operation of a clean run.
type passed struct {
	op   slowfs.Op
	name string // pattern of the file's name
	n    int    // of those of the name, from 1
}

// chance is what is another one in each run of the names that Capstan gives: a UUID,
// an owner, a time, a process.
var chance = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8}(-[0-9a-f]+){4,}|[A-Z2-7]{26}|[0-9]{8,}|[0-9a-f]{16,}`)

// trace runs the command without a fault, and gives what was asked of a place.
func (s *scene) trace(at string) (all []passed) {
	s.t.Helper()
	s.reset()
	mark := s.mounts[at].Add(slowfs.Rule{Ops: sweptOps(), Delay: 1})
	e := s.try(s.args...)
	mark.End()
	if e.code != 0 {
		s.t.Fatalf("exit %d:\n%s%s", e.code, e.out, e.err)
	}
	count := map[passed]int{}
	for len(mark.Hits()) > 0 {
		hit := <-mark.Hits()
		p := passed{op: hit.Op, name: chance.ReplaceAllString(path.Base(hit.Path), "*")}
		count[p]++
		p.n = count[p]
		all = append(all, p)
	}
	return all
}

// steps are the kinds that change what lies where, or make it durable; of them, turns
// are those that change names.
func steps() []slowfs.Op { return append(turns(), slowfs.Sync, slowfs.SyncDir, slowfs.Resize) }

func turns() []slowfs.Op {
	return []slowfs.Op{
		slowfs.Create, slowfs.Rename, slowfs.Unlink, slowfs.Mkdir, slowfs.Rmdir, slowfs.Symlink, slowfs.Link, slowfs.Mknod,
	}
}

// points gives the operations of a trace that a fault is tried at. They differ from
// each other by what the place is like when they come. Equal are: writes and closes of a
// file with no step in between, and what only looks (reads, look-ups, lists) at the same
// name with no turn in between. A fault that lasts is tried once between two steps,
// and at each; one that takes its time, once for each kind of operation and name.
func (f fault) points(at string, all []passed) (chosen []faultPoint) {
	type kind struct {
		op   slowfs.Op
		name string
	}
	type moment struct{ steps, turns int }
	last := map[kind]moment{}
	now, before, position := moment{}, -1, 0
	for _, p := range all {
		of := kind{p.op, p.name}
		then, met := last[of]
		isStep := slices.Contains(steps(), p.op)
		changes := isStep || slices.Contains([]slowfs.Op{slowfs.Write, slowfs.Close, slowfs.Allocate, slowfs.Setattr, slowfs.Setxattr}, p.op)
		fits := slices.Contains(f.ops, p.op)
		if fits {
			position++
		}
		switch {
		case !fits:
		case f.lasts():
			if before != now.steps || isStep {
				chosen, before = append(chosen, faultPoint{at: at, fault: f, ops: f.ops, n: position}), now.steps
			}
		case !met || !f.takesTime() && (changes && then.steps != now.steps || then.turns != now.turns):
			chosen = append(chosen, faultPoint{at: at, fault: f, ops: []slowfs.Op{p.op}, name: p.name, n: p.n})
			last[of] = now
		}
		if isStep {
			now.steps++
		}
		if slices.Contains(turns(), p.op) {
			now.turns++
		}
	}
	return chosen
}

// lasts reports whether all operations fail from the first one on.
func (f fault) lasts() bool { return f.rule.Times == 0 && !f.rule.Short }

// takesTime reports whether it is not the answer that is wrong.
func (f fault) takesTime() bool { return f.rule.Delay > 0 || f.rule.Hold }
