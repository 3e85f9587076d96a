package policy

import (
	"fmt"

	"capstan"
)

// Rule is what a set is kept or let go by.
type Rule string

// The rules of Rules; Detail of a reason names the period.
const (
	Last    Rule = "last"
	Daily   Rule = "daily"
	Weekly  Rule = "weekly"
	Monthly Rule = "monthly"
	Yearly  Rule = "yearly"
	Within  Rule = "within"
)

// What keeps a set whatever the rules say.
const (
	Pinned   Rule = "pinned"
	Running  Rule = "running"  // or interrupted: its job resumes it
	Waiting  Rule = "waiting"  // a volume has yet to get some of it
	Latest   Rule = "latest"   // the last one that can be restored
	Base     Rule = "base"     // a kept set builds on it; Detail names that one
	InUse    Rule = "in use"   // it is being restored or verified
	Future   Rule = "future"   // it is dated after now
	Unproven Rule = "unproven" // its run failed, and no later set can be restored
	NoRules  Rule = "no rules" // none are given
)

// Why a set is let go.
const (
	Expired Rule = "expired" // no rule keeps it
	Failed  Rule = "failed"  // its run failed, and a later set can be restored
	Asked   Rule = "asked"   // a person named it
	// Replaced: a consolidated set, which Detail names, holds the same and builds on nothing.
	Replaced Rule = "replaced"
)

// Reason is why a set is kept, or let go.
type Reason struct {
	Rule   Rule   `json:"rule"`
	Detail string `json:"detail,omitempty"` // a period, a set, how manieth
}

// String gives the reason for people.
func (r Reason) String() string {
	switch r.Rule {
	case Last, Daily, Weekly, Monthly, Yearly, Within:
		return string(r.Rule) + " " + r.Detail
	case Pinned:
		return "it is pinned"
	case Running:
		return "its run is " + r.Detail
	case Waiting:
		return "a volume has yet to get some of it"
	case InUse:
		return "a run is at it: it is being restored or verified"
	case Latest:
		return "it is the last one that can be restored"
	case Base:
		return fmt.Sprintf("set %s builds on it", r.Detail)
	case Future:
		return "it is dated in the future"
	case Unproven:
		return "its run ended " + r.Detail + ", and no later set can be restored"
	case Failed:
		return "its run ended " + r.Detail + ", and a later set can be restored"
	case Asked:
		return "it was asked for"
	case Replaced:
		return fmt.Sprintf("set %s holds the same by itself", r.Detail)
	case NoRules:
		return "no rules are given"
	case Expired:
		return "no rule keeps it"
	}
	return string(r.Rule)
}

// Verdict is what becomes of one set.
type Verdict struct {
	Set     capstan.SetID
	Keep    bool
	Reasons []Reason // all that keep it, or the one why it is let go
}

// Plan says of each set what becomes of it, the newest set first.
type Plan []Verdict

// LetGo lists the sets that are let go, the newest first. They go together: between
// two of them, one may lack what it builds on.
func (p Plan) LetGo() []capstan.SetID {
	var sets []capstan.SetID
	for _, v := range p {
		if !v.Keep {
			sets = append(sets, v.Set)
		}
	}
	return sets
}
