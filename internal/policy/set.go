package policy

import (
	"cmp"
	"strings"
	"time"

	"capstan"
)

// Set is what a policy knows of a set.
type Set struct {
	ID   capstan.SetID
	Base capstan.SetID // the set that it builds on; empty for a full one
	// Consolidates is the set whose tree it holds by itself; empty for one made from sources.
	Consolidates capstan.SetID
	Failed       int64              // entries that it should hold and does not
	On           []capstan.VolumeID // that have all of it
	Started      time.Time
	Status       capstan.RunStatus
	Whole        bool // every archive of its own lies on some volume, as far as is known
	Waiting      bool // a volume has yet to get some of it
	Pinned       bool
	InUse        bool // a run is at it: it is being restored or verified
	// Needed is another set, lying elsewhere, that builds on it and finds it nowhere else.
	Needed capstan.SetID
}

// open reports whether a run of the set may still go on.
func (s *Set) open() bool {
	return s.Status == capstan.RunRunning || s.Status == capstan.RunInterrupted
}

// under is the set that it needs: that it builds on, or that it is still being made of.
func (s *Set) under() capstan.SetID {
	if s.open() && s.Consolidates != "" {
		return s.Consolidates
	}
	return s.Base
}

// finished reports whether the set's run came to its end.
func (s *Set) finished() bool {
	return s.Status == capstan.RunComplete || s.Status == capstan.RunPartial
}

// place is the id of the set in whose place in time it stands: its own, or that of
// the set whose tree it holds.
func (s *Set) place() capstan.SetID {
	if s.Consolidates != "" {
		return s.Consolidates
	}
	return s.ID
}

// compare orders sets by time, as everywhere: a consolidated one comes right after the
// one whose tree it holds.
func compare(a, b *Set) int {
	return cmp.Or(compareIDs(a.place(), b.place()), compareIDs(a.ID, b.ID))
}

// monthLength is that of the part of a set's id before its number.
const monthLength = len("2026-11")

// compareIDs orders sets by month and number. Numbers have at least six digits and
// grow longer, so of one month the longer id is the later one.
func compareIDs(a, b capstan.SetID) int {
	return cmp.Or(
		strings.Compare(string(a[:min(len(a), monthLength)]), string(b[:min(len(b), monthLength)])),
		cmp.Compare(len(a), len(b)),
		strings.Compare(string(a), string(b)),
	)
}
