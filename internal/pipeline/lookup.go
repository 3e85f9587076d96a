package pipeline

import (
	"context"
	"iter"
	"slices"
	"strings"

	"capstan"
)

// hides reports whether an entry of a set takes all that older sets hold below
// its path out of view: all do but directories that the set holds. A directory
// that was excluded or could not be read shows nothing of what it held before,
// since the view is that of the run.
func hides(e *capstan.Entry) bool {
	return e.Outcome != 0 && (e.Kind != capstan.KindDir || !e.Outcome.Held())
}

// hiddenBelow gives the place in the chain of the oldest set that may show
// something below the path: older ones are hidden by a deletion or replacement of
// a directory above it.
func (v *View) hiddenBelow(ctx context.Context, path string) (oldest int, err error) {
	for age := len(v.Chain) - 1; age > 0; age-- {
		for above := range ancestors(path) {
			entry, found, err := v.engine.Catalog.Entry(ctx, v.Chain[age].ID, above)
			if err != nil {
				return 0, err
			}
			if found && hides(&entry) {
				return age, nil
			}
		}
	}
	return 0, nil
}

// ancestors yields the directories above a path, the topmost first.
func ancestors(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range []byte(path) {
			if c == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}

// Entry gives what the set shows under a path, whatever its outcome.
func (v *View) Entry(ctx context.Context, path string) (entry Held, found bool, err error) {
	path = strings.Trim(path, "/")
	oldest, err := v.hiddenBelow(ctx, path)
	if err != nil {
		return Held{}, false, err
	}
	for _, set := range slices.Backward(v.Chain[oldest:]) {
		e, found, err := v.engine.Catalog.Entry(ctx, set.ID, path)
		if err != nil {
			return Held{}, false, err
		}
		if found && e.Outcome != 0 {
			return Held{Set: set.ID, Entry: e}, e.Outcome != capstan.OutcomeDeleted, nil
		}
	}
	return Held{}, false, nil
}

// Children yields what the set shows directly within a directory, by name, from
// the first name on that comes after the given one; nothing for a directory that is
// not there. Memory is a page of rows for each set of the chain.
func (v *View) Children(ctx context.Context, dir, after string) iter.Seq2[Held, error] {
	return func(yield func(Held, error) bool) {
		sets, err := v.showing(ctx, dir)
		if err != nil {
			yield(Held{}, err)
			return
		}
		var children []*childrenOf // of each set, those of newer ones first
		for _, set := range sets {
			next, stop := iter.Pull2(v.engine.Catalog.ChildrenAfter(ctx, set, dir, after))
			defer stop()
			children = append(children, &childrenOf{set: set, next: next})
		}
		pass := "" // every path comes after it
		for {
			held, ok, err := newest(children, pass)
			if err != nil {
				yield(Held{}, err)
			}
			if err != nil || !ok || held.Outcome != capstan.OutcomeDeleted && !yield(held, nil) {
				return
			}
			pass = held.Path
		}
	}
}

// showing gives the sets that may show something directly within a directory, the
// newest first.
func (v *View) showing(ctx context.Context, dir string) (sets []capstan.SetID, err error) {
	oldest, err := v.hiddenBelow(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, set := range slices.Backward(v.Chain[oldest:]) {
		sets = append(sets, set.ID)
		if dir == "" {
			continue
		}
		own, found, err := v.engine.Catalog.Entry(ctx, set.ID, dir)
		if err != nil {
			return nil, err
		}
		if found && hides(&own) {
			break
		}
	}
	return sets, nil
}

// childrenOf are those that one set of a chain holds in a directory.
type childrenOf struct {
	set   capstan.SetID
	next  func() (capstan.Entry, error, bool)
	entry capstan.Entry // the first that was not passed
	over  bool
}

// newest passes what is not after a path, and gives the first that is: of the sets
// that hold it, the newest one's.
func newest(children []*childrenOf, after string) (held Held, ok bool, err error) {
	for _, c := range children {
		for !c.over && (c.entry.Outcome == 0 || c.entry.Path <= after) {
			var more bool
			if c.entry, err, more = c.next(); err != nil {
				return held, false, err
			}
			c.over = !more
		}
		if !c.over && (!ok || c.entry.Path < held.Path) {
			held, ok = Held{Set: c.set, Entry: c.entry}, true
		}
	}
	return held, ok, nil
}
