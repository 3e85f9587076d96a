package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"capstan"
	"capstan/internal/source/sets"
)

// maxChain bounds how many sets an incremental may build on.
const maxChain = 4096

// Held is an entry together with the set whose archive holds it.
type Held = sets.Held

// View is what a set shows: its own entries and, for an incremental one, those
// of the sets that it builds on, newer ones first and without what was deleted.
// It may be used by several goroutines.
type View struct {
	engine *Engine
	// Chain are the sets, the oldest (a full one) first and the set itself last.
	Chain []capstan.Set
}

// View opens the view of a set. A chain with a missing link is
// capstan.ErrIncomplete and names the link.
func (e *Engine) View(ctx context.Context, id capstan.SetID) (*View, error) {
	v := &View{engine: e}
	for next := id; next != ""; {
		set, err := e.Catalog.Set(ctx, next)
		if err != nil && next != id {
			return nil, e.missingLink(ctx, v.Chain, next, err)
		}
		if err != nil {
			return nil, err
		}
		if len(v.Chain) == maxChain {
			return nil, fmt.Errorf("set %s builds on more than %d sets: %w", id, maxChain, capstan.ErrDamaged)
		}
		v.Chain = append(v.Chain, set)
		next = set.Base
	}
	slices.Reverse(v.Chain)
	return v, nil
}

// Set is the set that is viewed.
func (v *View) Set() capstan.Set { return v.Chain[len(v.Chain)-1] }

// cursor is the place in the walk of one set of the chain.
type cursor struct {
	set    capstan.SetID
	age    int // place in the chain: a higher one is newer
	next   func() (capstan.Entry, error, bool)
	entry  capstan.Entry
	hidden string // entries within this path are deleted or replaced by a newer set; empty: none
}

// advance moves to the next entry that no newer set hides; ok is false at the end.
func (c *cursor) advance() (ok bool, err error) {
	for {
		c.entry, err, ok = c.next()
		if !ok || err != nil {
			return ok, err
		}
		if c.hidden != "" && capstan.Within(c.entry.Path, c.hidden) {
			continue
		}
		c.hidden = ""
		return true, nil
	}
}

// Walk yields what the set shows, all of it or root and what lies below, in the
// order of capstan.ComparePaths: entries of all outcomes but deleted ones; nothing
// for a root that is not there. Memory is that of one catalog walk for each set
// of the chain.
func (v *View) Walk(ctx context.Context, root string) iter.Seq2[Held, error] {
	if len(v.Chain) == 1 {
		return v.walkFull(ctx, root)
	}
	return func(yield func(Held, error) bool) {
		oldest, err := v.hiddenBelow(ctx, root)
		if err != nil {
			yield(Held{}, err)
			return
		}
		cursors := make([]*cursor, 0, len(v.Chain))
		for age, set := range v.Chain[oldest:] {
			walks := len(v.Chain) - oldest
			if age == 0 {
				walks = 1 // the full set: it holds most of what is walked
			}
			next, stop := iter.Pull2(v.engine.Catalog.WalkBeside(ctx, set.ID, root, walks))
			defer stop()
			c := &cursor{set: set.ID, age: age, next: next}
			ok, err := c.advance()
			if root != "" && errors.Is(err, capstan.ErrNotFound) {
				continue
			}
			if err != nil {
				yield(Held{}, err)
				return
			}
			if ok {
				cursors = append(cursors, c)
			}
		}
		for len(cursors) > 0 {
			newest := slices.MinFunc(cursors, func(a, b *cursor) int {
				return cmp.Or(capstan.ComparePaths(a.entry.Path, b.entry.Path), b.age-a.age)
			})
			held := Held{Set: newest.set, Entry: newest.entry}
			if held.Outcome != capstan.OutcomeDeleted && !yield(held, nil) {
				return
			}
			var err error
			if cursors, err = pass(cursors, held.Path); err != nil {
				yield(Held{}, err)
				return
			}
		}
	}
}

// walkFull is Walk of a set that builds on no other.
func (v *View) walkFull(ctx context.Context, root string) iter.Seq2[Held, error] {
	return func(yield func(Held, error) bool) {
		set := v.Set().ID
		for entry, err := range v.engine.Catalog.Walk(ctx, set, root) {
			if root != "" && errors.Is(err, capstan.ErrNotFound) {
				return
			}
			if err != nil {
				yield(Held{}, err)
				return
			}
			if entry.Outcome != capstan.OutcomeDeleted && !yield(Held{Set: set, Entry: entry}, nil) {
				return
			}
		}
	}
}

// pass moves all cursors past a path. Where a set hides what is below it, older
// sets do not show it.
func pass(cursors []*cursor, path string) ([]*cursor, error) {
	barrier := -1 // the newest set that hides what is older
	for _, c := range cursors {
		if c.entry.Path == path && hides(&c.entry) {
			barrier = max(barrier, c.age)
		}
	}
	left := cursors[:0]
	for _, c := range cursors {
		if c.age < barrier && (c.hidden == "" || !capstan.Within(path, c.hidden)) {
			c.hidden = path
		}
		if c.entry.Path == path || c.hidden != "" && capstan.Within(c.entry.Path, c.hidden) {
			ok, err := c.advance()
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
		}
		left = append(left, c)
	}
	return left, nil
}
