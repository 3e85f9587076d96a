package policy

import (
	"cmp"
	"strings"
	"time"

	"capstan"
)

// Set is what a policy knows of a set.
type Set struct {
	ID      capstan.SetID
	Base    capstan.SetID // the set that it builds on; empty for a full one
	Started time.Time
	Status  capstan.RunStatus
	Whole   bool // every archive of its own lies on some volume, as far as is known
	Waiting bool // a volume has yet to get some of it
	Pinned  bool
	InUse   bool // a run is at it: it is being restored or verified
}

// open reports whether a run of the set may still go on.
func (s *Set) open() bool {
	return s.Status == capstan.RunRunning || s.Status == capstan.RunInterrupted
}

// finished reports whether the set's run came to its end.
func (s *Set) finished() bool {
	return s.Status == capstan.RunComplete || s.Status == capstan.RunPartial
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
