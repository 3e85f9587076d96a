package pipeline

import (
	"context"
	"fmt"
	"iter"

	"capstan"
	"capstan/internal/catalog"
)

// Mode says what a backup compares the source with.
type Mode string

// The modes. An incremental set builds on the job's newest set, a differential
// one on its newest full set; where there is none, the set is a full one.
const (
	Full         Mode = "full"
	Incremental  Mode = "incremental"
	Differential Mode = "differential"
)

// base finds the set that a new one of this run builds on; empty for none.
func (r *backupRun) base(ctx context.Context) (capstan.SetID, error) {
	if r.Mode != Incremental && r.Mode != Differential {
		return "", nil
	}
	if r.onlySnapshots() {
		r.Say("a database is always dumped whole: this set is a full one")
		return "", nil
	}
	sets, err := r.Catalog.Sets(ctx, catalog.SetFilter{Job: r.Job})
	if err != nil {
		return "", err
	}
	for _, set := range sets {
		if set.Forgotten || set.Status != capstan.RunComplete && set.Status != capstan.RunPartial {
			continue
		}
		if r.Mode == Differential && set.Base != "" {
			continue
		}
		if set.Consolidates != "" {
			whole, err := r.isOnAll(ctx, set.ID)
			if err != nil {
				return "", err
			}
			if !whole {
				continue // the set whose tree it holds comes next
			}
		}
		view, err := r.View(ctx, set.ID)
		if err != nil {
			return "", fmt.Errorf("a set cannot build on %s: %w", set.ID, err)
		}
		reach, err := r.reaches(ctx, view)
		if err != nil {
			return "", err
		}
		if !reach {
			r.Say("set %s, on which this one would build, is not on the volumes of this run: this one is full", set.ID)
			return "", nil
		}
		return set.ID, r.gaps(ctx, view)
	}
	r.Say("there is no earlier set of this job to build on: this one is full")
	return "", nil
}

// baseline is what is held already: by the sets that this one builds on and, in
// a resumed run, by the sealed archives of the set itself.
type baseline struct {
	view *View
	own  capstan.SetID
}

// heldBefore gives the baseline of the run, nil where nothing is held, and notes
// the view of what the set builds on.
func (r *backupRun) heldBefore(ctx context.Context) (capstan.Baseline, error) {
	if r.set.Base != "" {
		var err error
		if r.before, err = r.View(ctx, r.set.Base); err != nil {
			return nil, err
		}
	}
	switch {
	case r.resumed:
		view, err := r.View(ctx, r.set.ID)
		return &baseline{view: view, own: r.set.ID}, err
	case r.before != nil:
		return &baseline{view: r.before}, nil
	}
	return nil, nil //nolint:nilnil // no baseline is not a failure
}

// Walk implements capstan.Baseline.
func (b *baseline) Walk(ctx context.Context, name string) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		for held, err := range b.view.Walk(ctx, name) {
			if err != nil {
				yield(capstan.Entry{}, err)
				return
			}
			if !held.Outcome.Held() {
				continue
			}
			if held.Set != b.own {
				held.Location, held.Parts = capstan.Location{}, nil
			}
			if !yield(held.Entry, nil) {
				return
			}
		}
	}
}
