package config

import "capstan/internal/policy"

// The keys of keep. A flag of forget has the same name, after "keep-".
var keepKeys = [...]key[policy.Rules]{
	{"last", func(v value, r *policy.Rules) { r.Last = v.number() }},
	{"daily", func(v value, r *policy.Rules) { r.Daily = v.number() }},
	{"weekly", func(v value, r *policy.Rules) { r.Weekly = v.number() }},
	{"monthly", func(v value, r *policy.Rules) { r.Monthly = v.number() }},
	{"yearly", func(v value, r *policy.Rules) { r.Yearly = v.number() }},
	{"within", func(v value, r *policy.Rules) {
		text, ok := v.text()
		if !ok {
			return
		}
		span, err := policy.ParseSpan(text)
		if err != nil {
			v.wrong("%v", err)
		}
		r.Within = span
	}},
}

// readKeep reads the rules of retention, in place of those that were there. A rule
// of none is refused: it would look like one that lets everything go.
func readKeep(v value, rules *policy.Rules) {
	before := len(v.r.problems)
	*rules = policy.Rules{}
	if found := fields(v, keepKeys[:], rules); len(found) == 0 && len(v.r.problems) == before {
		v.wrong("give at least one rule, such as last: 7")
	}
}

// number reads a number from 1.
func (v value) number() int {
	n, ok := v.whole()
	if ok && n < 1 {
		v.wrong("give a number from 1, or leave the key out")
	}
	return n
}
