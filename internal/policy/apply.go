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
}

func weigh(sets []Set) *scale {
	w := &scale{
		sets: slices.Clone(sets), at: make(map[capstan.SetID]*Set, len(sets)),
		restorable: make(map[capstan.SetID]bool, len(sets)), kept: make(map[capstan.SetID][]Reason, len(sets)),
		chained: make(map[capstan.SetID]bool, len(sets)),
	}
	slices.SortFunc(w.sets, func(a, b Set) int { return compareIDs(b.ID, a.ID) })
	for i := range w.sets {
		w.at[w.sets[i].ID] = &w.sets[i]
	}
	for i := range w.sets {
		w.judge(&w.sets[i])
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

func (w *scale) keep(id capstan.SetID, why Reason) { w.kept[id] = append(w.kept[id], why) }

// rules keeps what the rules want.
func (w *scale) rules(rules Rules, now time.Time, zone *time.Location) {
	var byID []*Set
	for i := range w.sets {
		s := &w.sets[i]
		if s.Started.After(now) {
			w.keep(s.ID, Reason{Rule: Future})
		} else if s.finished() {
			byID = append(byID, s)
		}
	}
	byTime := slices.Clone(byID)
	slices.SortStableFunc(byTime, func(a, b *Set) int {
		return cmp.Or(b.Started.Compare(a.Started), compareIDs(b.ID, a.ID))
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
	count := 0
	for _, s := range byID {
		if count == rule.n {
			return
		}
		w.keep(s.ID, Reason{Rule: rule.name, Detail: fmt.Sprintf("%d of %d", count+1, rule.n)})
		if w.restorable[s.ID] {
			count++
		}
	}
}

// keepPeriods keeps the newest set of each of the newest periods; what cannot be
// restored and is newer than that is kept too.
func (w *scale) keepPeriods(byTime []*Set, rule counted, zone *time.Location) {
	done := map[string]bool{}
	for _, s := range byTime {
		if len(done) == rule.n {
			return
		}
		period := rule.period(s.Started.In(zone))
		if done[period] {
			continue
		}
		w.keep(s.ID, Reason{Rule: rule.name, Detail: period})
		if w.restorable[s.ID] {
			done[period] = true
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
		for base := w.at[s.Base]; base != nil && !w.chained[s.ID]; s, base = base, w.at[base.Base] {
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
