package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"capstan"
)

// Apply says what becomes of the sets of one job by the rules, at the time now, in
// the calendar of the zone. Without rules everything is kept.
func Apply(sets []Set, rules Rules, now time.Time, zone *time.Location) Plan {
	w := weigh(sets)
	if rules.Empty() {
		for i := range w.sets {
			w.keep(w.sets[i].ID, Reason{Rule: NoRules})
		}
		return w.plan(nil)
	}
	w.rules(rules, now, zone)
	w.failed()
	w.protect(func(*Set) bool { return true })
	if newest := w.newestRestorable(); newest != "" && len(w.kept[newest]) == 0 {
		w.keep(newest, Reason{Rule: Latest})
	}
	w.chains()
	return w.plan(func(s *Set) Reason {
		if !s.finished() {
			return Reason{Rule: Failed, Detail: string(s.Status)}
		}
		if by := w.replaced[s.ID]; by != "" {
			return Reason{Rule: Replaced, Detail: string(by)}
		}
		return Reason{Rule: Expired}
	})
}

// Choose says what becomes of the sets that a person names, of all sets of one job;
// it gives verdicts for the named ones only. A name that is not among the sets is
// passed over.
func Choose(sets []Set, named []capstan.SetID) Plan {
	w := weigh(sets)
	for i := range w.sets {
		if !slices.Contains(named, w.sets[i].ID) {
			w.keep(w.sets[i].ID, Reason{})
		}
	}
	w.protect(func(s *Set) bool { return slices.Contains(named, s.ID) })
	w.chains()
	if newest := w.newestRestorable(); newest != "" && !w.keepsRestorable() {
		w.keep(newest, Reason{Rule: Latest})
		w.chains()
	}
	plan := w.plan(func(*Set) Reason { return Reason{Rule: Asked} })
	return slices.DeleteFunc(plan, func(v Verdict) bool { return !slices.Contains(named, v.Set) })
}

// scale weighs the sets of a job.
type scale struct {
	sets       []Set // newest first
	at         map[capstan.SetID]*Set
	restorable map[capstan.SetID]bool
	kept       map[capstan.SetID][]Reason
	chained    map[capstan.SetID]bool // its base was looked at
	// replaced holds the sets that a consolidated one shows as well, which can be restored
	// and lacks no more of it.
	replaced map[capstan.SetID]capstan.SetID
}

func weigh(sets []Set) *scale {
	w := &scale{
		sets: slices.Clone(sets), at: make(map[capstan.SetID]*Set, len(sets)),
		restorable: make(map[capstan.SetID]bool, len(sets)), kept: make(map[capstan.SetID][]Reason, len(sets)),
		chained: make(map[capstan.SetID]bool, len(sets)), replaced: map[capstan.SetID]capstan.SetID{},
	}
	slices.SortFunc(w.sets, func(a, b Set) int { return compare(&b, &a) })
	for i := range w.sets {
		w.at[w.sets[i].ID] = &w.sets[i]
	}
	for i := range w.sets {
		w.judge(&w.sets[i])
	}
	for i := range w.sets {
		w.replace(i)
	}
	return w
}

// judge finds out whether a set can be restored, with all that it builds on.
func (w *scale) judge(s *Set) bool {
	if known, judged := w.restorable[s.ID]; judged {
		return known
	}
	w.restorable[s.ID] = false // of a set that builds on itself
	good := s.Whole && s.finished()
	if good && s.Base != "" {
		base := w.at[s.Base]
		good = base != nil && w.judge(base)
	}
	w.restorable[s.ID] = good
	return good
}

// replace finds out whether a consolidated set holds all that the i-th one shows,
// wherever that one lies. The newest such set comes first.
func (w *scale) replace(i int) {
	s := &w.sets[i]
	for j := range w.sets[:i] {
		c := &w.sets[j]
		same := c.Consolidates != "" && c.place() == s.place() && c.Started.Equal(s.Started)
		if same && w.restorable[c.ID] && c.Failed <= s.Failed && everywhere(s.On, c.On) {
			w.replaced[s.ID] = c.ID
			return
		}
	}
}

// everywhere reports whether all volumes are among others.
func everywhere(volumes, others []capstan.VolumeID) bool {
	return !slices.ContainsFunc(volumes, func(v capstan.VolumeID) bool { return !slices.Contains(others, v) })
}

func (w *scale) keep(id capstan.SetID, why Reason) { w.kept[id] = append(w.kept[id], why) }

// rules keeps what the rules want.
func (w *scale) rules(rules Rules, now time.Time, zone *time.Location) {
	var byID []*Set
	for i := range w.sets {
		s := &w.sets[i]
		if s.Started.After(now) {
			w.keep(s.ID, Reason{Rule: Future})
		} else if s.finished() && w.replaced[s.ID] == "" {
			byID = append(byID, s)
		}
	}
	byTime := slices.Clone(byID)
	slices.SortStableFunc(byTime, func(a, b *Set) int {
		return cmp.Or(b.Started.Compare(a.Started), compare(b, a))
	})
	for _, rule := range rules.counted() {
		if rule.period == nil {
			w.keepLast(byID, rule)
		} else {
			w.keepPeriods(byTime, rule, zone)
		}
	}
	if rules.Within == (Span{}) || len(byTime) == 0 {
		return
	}
	// Not by the clock of today: a job that has made no set for long must not lose
	// those that it has.
	oldest := rules.Within.Before(byTime[0].Started, zone)
	for _, s := range byTime {
		if !s.Started.Before(oldest) {
			w.keep(s.ID, Reason{Rule: Within, Detail: rules.Within.String()})
		}
	}
}

// keepLast keeps the newest sets. One that cannot be restored is kept too, and
// counts for nothing: it must not take the place of one that can.
func (w *scale) keepLast(byID []*Set, rule counted) {
	var counted []capstan.SetID // places
	for _, s := range byID {
		again := slices.Contains(counted, s.place()) // the tree of one that was counted, on other volumes
		if len(counted) == rule.n && !again {
			return
		}
		count := len(counted)
		if !again {
			count++
		}
		w.keep(s.ID, Reason{Rule: rule.name, Detail: fmt.Sprintf("%d of %d", count, rule.n)})
		if w.restorable[s.ID] && !again {
			counted = append(counted, s.place())
		}
	}
}

// keepPeriods keeps the newest set of each of the newest periods; what cannot be
// restored and is newer than that is kept too.
func (w *scale) keepPeriods(byTime []*Set, rule counted, zone *time.Location) {
	done := map[string]capstan.SetID{} // the place of the one that was kept
	for _, s := range byTime {
		period := rule.period(s.Started.In(zone))
		by, taken := done[period]
		switch {
		case taken && by != s.place():
			continue
		case !taken && len(done) == rule.n:
			return
		}
		w.keep(s.ID, Reason{Rule: rule.name, Detail: period})
		if w.restorable[s.ID] {
			done[period] = s.place()
		}
	}
}

// failed keeps the sets of failed and cancelled runs for as long as there is no
// later one that can be restored.
func (w *scale) failed() {
	for i := range w.sets {
		s := &w.sets[i]
		if w.restorable[s.ID] {
			return
		}
		if !s.finished() && !s.open() {
			w.keep(s.ID, Reason{Rule: Unproven, Detail: string(s.Status)})
		}
	}
}

// protect keeps what no rule and no person lets go, of the sets that are meant.
func (w *scale) protect(meant func(*Set) bool) {
	for i := range w.sets {
		s := &w.sets[i]
		if !meant(s) {
			continue
		}
		if s.open() {
			w.keep(s.ID, Reason{Rule: Running, Detail: string(s.Status)})
		}
		if s.Waiting {
			w.keep(s.ID, Reason{Rule: Waiting})
		}
		if s.InUse {
			w.keep(s.ID, Reason{Rule: InUse})
		}
		if s.Needed != "" {
			w.keep(s.ID, Reason{Rule: Base, Detail: string(s.Needed)})
		}
		if s.Pinned {
			w.keep(s.ID, Reason{Rule: Pinned})
		}
	}
}

func (w *scale) newestRestorable() capstan.SetID {
	for i := range w.sets {
		if w.restorable[w.sets[i].ID] {
			return w.sets[i].ID
		}
	}
	return ""
}

func (w *scale) keepsRestorable() bool {
	for id := range w.kept {
		if w.restorable[id] {
			return true
		}
	}
	return false
}

// chains keeps all that kept sets build on.
func (w *scale) chains() {
	for i := range w.sets {
		s := &w.sets[i]
		if len(w.kept[s.ID]) == 0 {
			continue
		}
		for base := w.at[s.under()]; base != nil && !w.chained[s.ID]; s, base = base, w.at[base.under()] {
			w.chained[s.ID] = true
			w.keep(base.ID, Reason{Rule: Base, Detail: string(s.ID)})
		}
	}
}

// plan gives the verdicts; why is asked for the reason of what is let go.
func (w *scale) plan(why func(*Set) Reason) Plan {
	plan := make(Plan, 0, len(w.sets))
	for i := range w.sets {
		s := &w.sets[i]
		v := Verdict{Set: s.ID, Keep: len(w.kept[s.ID]) > 0, Reasons: w.kept[s.ID]}
		if !v.Keep {
			v.Reasons = []Reason{why(s)}
		}
		plan = append(plan, v)
	}
	return plan
}
