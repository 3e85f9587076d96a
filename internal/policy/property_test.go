package policy

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"capstan"
)

var (
	seed  = flag.Uint64("seed", 20261120, "of the random histories; a failure prints its own")
	steps = flag.Int("steps", 30_000, "of random histories, over which the rules are compared with the model")
)

// zones are those in which days are missing, doubled, shortened, or no whole hours
// from Greenwich.
func zones(t *testing.T) (all []*time.Location) {
	t.Helper()
	for _, name := range []string{
		"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu", "America/Sao_Paulo",
	} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, zone)
	}
	return all
}

// history is a job that lives: it makes sets, loses some, and its clock is not right.
type history struct {
	*rand.Rand
	sets  []Set
	now   time.Time
	zones []*time.Location
	next  map[string]int // numbers of the months
}

// TestHistories compares Apply and Choose with the model, and with what must never
// happen, along random histories.
func TestHistories(t *testing.T) {
	t.Parallel()
	all := zones(t)
	const life = 250 // steps of one history
	for n := 0; n*life < *steps; n++ {
		own := *seed + uint64(n)
		h := &history{Rand: rand.New(rand.NewPCG(own, 1)), zones: all, next: map[string]int{}}
		h.now = time.Unix(h.Int64N(60*365*24*3600), 0)
		if h.IntN(3) == 0 { // about the days on which clocks change, or a day is left out
			h.now = time.Date(2011, time.Month(10+h.IntN(3)), 28, h.IntN(24), h.IntN(60), 0, 0, time.UTC)
		}
		for step := range life {
			if problem := h.step(); problem != "" {
				t.Fatalf("-seed %d, history's step %d: %s\nnow %s\n%s", own, step, problem, h.now, h.list())
			}
		}
	}
}

func (h *history) list() string {
	text := ""
	for _, s := range h.sets {
		text += fmt.Sprintf("%+v\n", s)
	}
	return text
}

// step does one thing, and looks at what the rules say afterwards.
func (h *history) step() string {
	switch n := h.IntN(100); {
	case n < 45:
		h.begin()
	case n < 60:
		h.befall()
	case n < 64:
		h.jump()
	case n < 70:
		if problem := h.choose(); problem != "" {
			return problem
		}
	}
	if h.IntN(3) == 0 { // to the minute, as a timer does it
		h.now = h.now.AddDate(0, 0, h.IntN(3))
	} else {
		h.now = h.now.Add(time.Duration(h.Int64N(int64(40 * time.Hour))))
	}
	rules, zone := h.rules(), h.zones[h.IntN(len(h.zones))]
	plan := Apply(h.sets, rules, h.now, zone)
	m := model{sets: h.sets, now: h.now, zone: zone}
	if got, want := keptBy(plan), m.kept(rules); !maps.Equal(got, want) {
		return fmt.Sprintf("rules %q in %s keep\n%v, want\n%v", rules, zone, got, want)
	}
	if problem := h.sane(plan); problem != "" {
		return fmt.Sprintf("rules %q in %s: %s", rules, zone, problem)
	}
	if h.IntN(4) > 0 && len(h.sets) < 25 {
		return ""
	}
	h.drop(plan.LetGo())
	if again := Apply(h.sets, rules, h.now, zone).LetGo(); len(again) > 0 {
		return fmt.Sprintf("rules %q in %s let go of %s only when asked a second time", rules, zone, again)
	}
	return ""
}

// begin makes a set, often one that builds on an earlier one.
func (h *history) begin() {
	at := h.now.In(h.zones[h.IntN(len(h.zones))])
	month := capstan.NewSetID(at, 1).Month()
	if h.next[month] == 0 && h.IntN(8) == 0 {
		h.next[month] = 999_997 // the numbers are about to grow longer
	}
	h.next[month]++
	s := Set{ID: capstan.NewSetID(at, h.next[month]), Started: h.now, Status: capstan.RunComplete, Whole: h.IntN(12) > 0}
	s.Status = []capstan.RunStatus{
		capstan.RunComplete, capstan.RunComplete, capstan.RunComplete, capstan.RunPartial,
		capstan.RunInterrupted, capstan.RunRunning, capstan.RunFailed, capstan.RunCancelled,
	}[h.IntN(8)]
	s.Waiting = h.IntN(10) == 0
	s.On = [][]capstan.VolumeID{nil, {"a"}, {"a"}, {"a", "b"}}[h.IntN(4)]
	if len(h.sets) > 0 && h.IntN(5) > 1 {
		s.Base = h.sets[h.IntN(len(h.sets))].ID
	}
	if s.Base != "" && h.IntN(3) == 0 {
		h.consolidate(&s)
	}
	h.sets = append(h.sets, s)
	h.Shuffle(len(h.sets), func(i, j int) { h.sets[i], h.sets[j] = h.sets[j], h.sets[i] })
}

// consolidate makes a new set one that holds the tree of an earlier one by itself, of
// one that builds on another as a rule.
func (h *history) consolidate(s *Set) {
	of := h.sets[h.IntN(len(h.sets))]
	if of.Consolidates != "" {
		return
	}
	s.Base, s.Consolidates, s.Started, s.Failed = "", of.ID, of.Started, of.Failed
	if h.IntN(6) == 0 {
		s.Failed++ // something of it was damaged
	}
}

// befall lets something happen to a set.
func (h *history) befall() {
	if len(h.sets) == 0 {
		return
	}
	s := &h.sets[h.IntN(len(h.sets))]
	switch h.IntN(9) {
	case 8:
		s.Needed = []capstan.SetID{"", "2000-01_000001"}[h.IntN(2)]
	case 0:
		s.Pinned = !s.Pinned
	case 1:
		s.Waiting = !s.Waiting
	case 2, 3:
		s.Whole = !s.Whole
	case 4, 5:
		s.Status = capstan.RunComplete
	case 7:
		s.InUse = !s.InUse
	case 6:
		s.Base = []capstan.SetID{"", "1969-01_000001", s.ID}[h.IntN(3)] // lost, or damage
	}
}

// jump sets the clock.
func (h *history) jump() {
	switch h.IntN(4) {
	case 0:
		h.now = time.Unix(h.Int64N(3600), 0) // its battery is empty
	case 1:
		h.now = h.now.AddDate(h.IntN(30), 0, 0)
	case 2:
		h.now = h.now.Add(-time.Duration(h.Int64N(int64(60 * 24 * time.Hour))))
	case 3:
		h.now = h.now.Add(time.Duration(h.Int64N(int64(400 * 24 * time.Hour))))
	}
}

func (h *history) rules() (r Rules) {
	for _, n := range []*int{&r.Last, &r.Daily, &r.Weekly, &r.Monthly, &r.Yearly} {
		if h.IntN(3) == 0 {
			*n = h.IntN(6)
		}
	}
	if h.IntN(3) == 0 {
		r.Within = Span{Years: h.IntN(2), Months: h.IntN(14), Days: h.IntN(40), Hours: h.IntN(30)}
		if h.IntN(2) == 0 { // so that sets lie on its very edge
			r.Within = Span{Days: h.IntN(5)}
		}
	}
	return r
}

// sane looks for what a plan must never do.
func (h *history) sane(plan Plan) string {
	m := model{sets: h.sets}
	kept := map[capstan.SetID]bool{}
	for _, v := range plan {
		if len(v.Reasons) == 0 || v.Reasons[0] == (Reason{}) {
			return "no reason for " + string(v.Set)
		}
		kept[v.Set] = v.Keep
	}
	if len(plan) != len(h.sets) || len(kept) != len(h.sets) {
		return fmt.Sprintf("%d verdicts of %d sets", len(plan), len(h.sets))
	}
	return m.harm(func(s *Set) bool { return kept[s.ID] })
}

// harm says what must not happen to these sets.
func (m *model) harm(kept func(*Set) bool) string {
	before, after := 0, 0
	for i := range m.sets {
		s := &m.sets[i]
		if m.restorable(s) {
			before++
			if kept(s) {
				after++
			}
		}
		if (s.Pinned || s.InUse || s.Needed != "") && !kept(s) || s.Waiting && !kept(s) || (s.Status == "running" || s.Status == "interrupted") && !kept(s) {
			return "let go: " + string(s.ID)
		}
		below := s.Base
		if s.Consolidates != "" && (s.Status == "running" || s.Status == "interrupted") {
			below = s.Consolidates
		}
		if base := m.find(below); kept(s) && base != nil && !kept(base) {
			return fmt.Sprintf("kept without its base: %s", s.ID)
		}
	}
	if before > 0 && after == 0 {
		return "nothing is left that can be restored"
	}
	return ""
}

// choose lets a person name some sets.
func (h *history) choose() string {
	var named []capstan.SetID
	for _, s := range h.sets {
		if h.IntN(3) == 0 {
			named = append(named, s.ID)
		}
	}
	plan := Choose(h.sets, append(named, "1900-01_000001"))
	if len(plan) != len(named) {
		return fmt.Sprintf("%d verdicts of %d named sets", len(plan), len(named))
	}
	gone := plan.LetGo()
	m := model{sets: h.sets}
	if problem := m.harm(func(s *Set) bool { return !slices.Contains(gone, s.ID) }); problem != "" {
		return fmt.Sprintf("of %s: %s", named, problem)
	}
	// What is kept against the wish is kept for a reason: alone, none could go. Of
	// several that could be the last one, it is the newest that stays.
	for _, v := range plan {
		s := m.find(v.Set)
		latest := slices.ContainsFunc(v.Reasons, func(r Reason) bool { return r.Rule == Latest })
		if !v.Keep || latest || s.Pinned || s.InUse || s.Needed != "" || s.Waiting || s.Status == "running" || s.Status == "interrupted" {
			continue
		}
		if m.harm(func(o *Set) bool { return o != s && !slices.Contains(gone, o.ID) }) == "" {
			return fmt.Sprintf("of %s: %s is kept for nothing", named, v.Set)
		}
	}
	if h.IntN(3) == 0 {
		h.drop(gone)
	}
	return ""
}

func (h *history) drop(gone []capstan.SetID) {
	h.sets = slices.DeleteFunc(h.sets, func(s Set) bool { return slices.Contains(gone, s.ID) })
}
