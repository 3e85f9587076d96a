package pipeline

import (
	"context"
	"iter"

	"capstan"
)

// deletions yields what has to be removed from the tree of the sets before, ere
// this set's archives are unpacked over it: what is gone, what this set does not
// hold any more, and directories that became something else.
func (f *finisher) deletions(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if f.before == nil {
			return
		}
		find, stop := f.lookBack(ctx)
		defer stop()
		for entry, err := range f.Catalog.Walk(ctx, f.set.ID, "") {
			f.beat()
			if err != nil {
				yield("", err)
				return
			}
			if entry.Outcome == 0 || !hides(&entry) {
				continue
			}
			old, found, err := find(entry.Path)
			if err != nil {
				yield("", err)
				return
			}
			gone := !entry.Outcome.Held() || old.Kind == capstan.KindDir
			if found && old.Outcome.Held() && gone && !yield(entry.Path, nil) {
				return
			}
		}
	}
}

// lookUpCost is for how many entries of a walk the look-up of one path in one set of a
// chain stands, about.
const lookUpCost = 50

// lookBack finds what the sets before show under paths, which come in the order of
// a walk. Few are looked up; many are met by a walk of all that those sets show.
func (f *finisher) lookBack(ctx context.Context) (find func(path string) (Held, bool, error), stop func()) {
	c := &f.set.Counts
	paths := c.Stored + c.Changed + c.Excluded + c.Vanished + c.Failed + c.Deleted // at most
	if paths*lookUpCost*int64(len(f.before.Chain)) < f.before.Set().Counts.Entries {
		return func(path string) (Held, bool, error) { return f.before.Entry(ctx, path) }, func() {}
	}
	next, stop := iter.Pull2(f.before.Walk(ctx, ""))
	var head Held
	more := true
	return func(path string) (_ Held, found bool, err error) {
		for more && (head.Path == "" || capstan.ComparePaths(head.Path, path) < 0) {
			f.beat()
			if head, err, more = next(); err != nil {
				return Held{}, false, err
			}
		}
		if !more || head.Path != path {
			return Held{}, false, nil
		}
		return head, true, nil
	}, stop
}
