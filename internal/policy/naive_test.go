package policy

import (
	"fmt"
	"strings"
	"time"

	"capstan"
)

// model says the same as Apply in the plainest way: each set is asked about by
// itself, by counting over all others, with no order of work in between.
type model struct {
	sets []Set
	now  time.Time
	zone *time.Location

	known map[*Set]bool // what restorable said, of sets that are not changed meanwhile
	moved map[*Set]bool // the same of replaced
}

func (m *model) find(id capstan.SetID) *Set {
	for i := range m.sets {
		if m.sets[i].ID == id {
			return &m.sets[i]
		}
	}
	return nil
}

// chain gives a set and all that it builds on; whole is false where one is not there.
func (m *model) chain(s *Set) (chain []*Set, whole bool) {
	for len(chain) <= len(m.sets) {
		chain = append(chain, s)
		below := s.Base
		if (s.Status == "running" || s.Status == "interrupted") && s.Consolidates != "" {
			below = s.Consolidates // it is being made of that one
		}
		if below == "" {
			return chain, true
		}
		if s = m.find(below); s == nil {
			return chain, false
		}
	}
	return chain[:len(m.sets)], false // a ring
}

func isFinished(s *Set) bool { return s.Status == "complete" || s.Status == "partial" }

func (m *model) restorable(s *Set) bool {
	if known, asked := m.known[s]; asked {
		return known
	}
	chain, whole := m.chain(s)
	for _, link := range chain {
		whole = whole && link.Whole && isFinished(link)
	}
	if m.known == nil {
		m.known = map[*Set]bool{}
	}
	m.known[s] = whole
	return whole
}

// number makes ids comparable in another way than the code does.
func number(id capstan.SetID) string {
	month, n, _ := strings.Cut(string(id), "_")
	return month + strings.Repeat("0", 12-len(n)) + n
}

// shown is the moment that a set shows, by the id of the set that was made then.
func shown(s *Set) string {
	if s.Consolidates == "" {
		return number(s.ID)
	}
	return number(s.Consolidates)
}

func laterByID(a, b *Set) bool { return shown(a)+number(a.ID) > shown(b)+number(b.ID) }

// replaced reports whether a newer consolidated set holds the same, on the same volumes.
func (m *model) replaced(s *Set) bool {
	if known, asked := m.moved[s]; asked {
		return known
	}
	if m.moved == nil {
		m.moved = map[*Set]bool{}
	}
	m.moved[s] = m.heldBySelf(s)
	return m.moved[s]
}

func (m *model) heldBySelf(s *Set) bool {
	for i := range m.sets {
		o := &m.sets[i]
		if o.Consolidates == "" || shown(o) != shown(s) || !laterByID(o, s) || !o.Started.Equal(s.Started) || o.Failed > s.Failed || !m.restorable(o) {
			continue
		}
		there := map[capstan.VolumeID]bool{}
		for _, v := range o.On {
			there[v] = true
		}
		lacks := 0
		for _, v := range s.On {
			if !there[v] {
				lacks++
			}
		}
		if lacks == 0 {
			return true
		}
	}
	return false
}

func laterByTime(a, b *Set) bool {
	if !a.Started.Equal(b.Started) {
		return a.Started.UnixNano() > b.Started.UnixNano()
	}
	return laterByID(a, b)
}

// weekOf names a week by the date of its Monday.
func weekOf(t time.Time) string {
	for t.Weekday() != time.Monday {
		t = time.Date(t.Year(), t.Month(), t.Day()-1, 12, 0, 0, 0, time.UTC)
	}
	return t.Format("2006-01-02")
}

// ruled reports whether a rule wants the set.
func (m *model) ruled(s *Set, rules Rules) bool {
	if s.Started.After(m.now) {
		return true
	}
	if !isFinished(s) || m.replaced(s) {
		return false
	}
	var others []*Set // that can take its place
	for i := range m.sets {
		if o := &m.sets[i]; !o.Started.After(m.now) && isFinished(o) && !m.replaced(o) {
			others = append(others, o)
		}
	}
	newer := map[string]bool{} // moments
	for _, o := range others {
		if m.restorable(o) && laterByID(o, s) && shown(o) != shown(s) {
			newer[shown(o)] = true
		}
	}
	if len(newer) < rules.Last {
		return true
	}
	for _, rule := range []struct {
		n    int
		name func(time.Time) string
	}{ // how a period is called is another matter than in the code
		{rules.Daily, func(t time.Time) string { return fmt.Sprint(t.Date()) }},
		{rules.Weekly, func(t time.Time) string {
			return weekOf(time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, time.UTC))
		}},
		{rules.Monthly, func(t time.Time) string { return fmt.Sprint(t.Year(), t.Month()) }},
		{rules.Yearly, func(t time.Time) string { return fmt.Sprint(t.Year()) }},
	} {
		periods := map[string]bool{}
		for _, o := range others {
			if m.restorable(o) && laterByTime(o, s) && shown(o) != shown(s) {
				periods[rule.name(o.Started.In(m.zone))] = true
			}
		}
		if !periods[rule.name(s.Started.In(m.zone))] && len(periods) < rule.n {
			return true
		}
	}
	if rules.Within == (Span{}) {
		return false
	}
	newest := others[0].Started
	for _, o := range others {
		if o.Started.After(newest) {
			newest = o.Started
		}
	}
	return !s.Started.Before(m.earlier(newest, rules.Within))
}

// earlier counts a span back month by month, and in a month that is too short day
// by day.
func (m *model) earlier(t time.Time, span Span) time.Time {
	t = t.In(m.zone)
	year, month := t.Year()-span.Years, int(t.Month())
	for range span.Months {
		if month--; month == 0 {
			year, month = year-1, 12
		}
	}
	day := t.Day()
	for time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Month() != time.Month(month) {
		day--
	}
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	for range span.Days {
		date = date.AddDate(0, 0, -1)
	}
	at := time.Date(date.Year(), date.Month(), date.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), m.zone)
	for range span.Hours {
		at = at.Add(-time.Hour)
	}
	return at
}

// kept is what is kept.
func (m *model) kept(rules Rules) map[capstan.SetID]bool {
	var latest *Set
	for i := range m.sets {
		if s := &m.sets[i]; m.restorable(s) && (latest == nil || laterByID(s, latest)) {
			latest = s
		}
	}
	wanted := map[capstan.SetID]bool{}
	for i := range m.sets {
		s := &m.sets[i]
		open := s.Status == "running" || s.Status == "interrupted"
		lost := !open && !isFinished(s) && (latest == nil || laterByID(s, latest))
		if rules == (Rules{}) || open || lost || s.Waiting || s.Needed != "" || s.Pinned || s.InUse || s == latest || m.ruled(s, rules) {
			chain, _ := m.chain(s)
			for _, link := range chain {
				wanted[link.ID] = true
			}
		}
	}
	return wanted
}

// keptBy is what a plan keeps.
func keptBy(plan Plan) map[capstan.SetID]bool {
	all := map[capstan.SetID]bool{}
	for _, v := range plan {
		if v.Keep {
			all[v.Set] = true
		}
	}
	return all
}
