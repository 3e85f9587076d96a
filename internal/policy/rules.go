package policy

import (
	"fmt"
	"strings"
	"time"
)

// Rules say how many sets of a job are kept. A set is kept when one of them wants
// it; 0 and no span: the rule is not given.
type Rules struct {
	Last    int  // the newest so many
	Daily   int  // the newest of each of the last so many days that have one
	Weekly  int  // the same of weeks, which begin on Monday
	Monthly int  // of months
	Yearly  int  // of years
	Within  Span // all that are no older than this when the newest one was made
}

// Empty reports whether no rule is given: then nothing may be let go.
func (r Rules) Empty() bool { return r == Rules{} }

// String gives the rules for people: "last 7, daily 14, within 30d".
func (r Rules) String() string {
	var words []string
	for _, rule := range r.counted() {
		if rule.n > 0 {
			words = append(words, fmt.Sprintf("%s %d", rule.name, rule.n))
		}
	}
	if within := r.Within.String(); within != "" {
		words = append(words, string(Within)+" "+within)
	}
	return strings.Join(words, ", ")
}

// counted is a rule that keeps the newest set of each of some periods.
type counted struct {
	name   Rule
	n      int
	period func(time.Time) string // the name of the one that a local time lies in
}

// counted are the rules that count, in the order of their reasons.
func (r Rules) counted() []counted {
	return []counted{
		{Last, r.Last, nil},
		{Daily, r.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{Weekly, r.Weekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%04d-W%02d", year, week)
		}},
		{Monthly, r.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{Yearly, r.Yearly, func(t time.Time) string { return t.Format("2006") }},
	}
}
