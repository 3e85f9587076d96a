package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/policy"
)

// Forget is what one call shall let go of the sets of a job.
type Forget struct {
	Job   capstan.JobKey
	Sets  []capstan.SetID // a person names them; empty: what Rules do not keep
	Rules policy.Rules
	Zone  *time.Location // of the days, weeks and months of Rules; nil: UTC
	// Volumes are those that the sets are let go on; on others they stay. nil: on all.
	Volumes []capstan.VolumeID
	// Finish lets nothing more go, and only removes what earlier calls left.
	Finish bool
	Why    string // beside the reason, in the audit log: on whose word
	// Lock is the job's lock, of a caller that holds it; nil: it is taken for this call.
	Lock *catalog.Lock
}

// Forgotten is what Forget did.
type Forgotten struct {
	Plan   policy.Plan
	Erased []Erasure // of this call's sets, and of those that earlier ones left
	Left   []Leftover
}

// ForgetPlan says what Forget would do, and changes nothing. Errors are those of Forget,
// but for ErrLocked and ErrIncomplete.
func (e *Engine) ForgetPlan(ctx context.Context, job Forget) (policy.Plan, error) {
	if err := job.check(); err != nil {
		return nil, err
	}
	e.bury(ctx)
	sets, err := e.Catalog.Retained(ctx, job.Job, job.Volumes...)
	if err != nil {
		return nil, err
	}
	plan := job.decide(sets, e.Now())
	return plan, job.refusal(plan)
}

// Forget lets sets of a job go, and removes their bytes from the volumes that
// answer; first of all it finishes what earlier calls could not. The plan is made
// anew under the job's lock. Of the sets that a person names, all go or none.
//
// Order: the catalog forgets the sets, durably; a volume removes their files, then
// the catalog says so; in the end the entries are taken out of the catalog. Killed
// anywhere in between, the next call goes on. Errors: capstan.ErrUsage without rules
// and sets, capstan.ErrRefused where a named set must stay, capstan.ErrLocked, and
// capstan.ErrIncomplete when a volume did not answer, which the catalog remembers.
func (e *Engine) Forget(ctx context.Context, job Forget) (done Forgotten, err error) {
	if err := job.check(); err != nil {
		return done, err
	}
	if job.Lock == nil {
		lock, err := e.Catalog.LockJob(ctx, job.Job)
		if err != nil {
			return done, err
		}
		defer func() { err = errors.Join(err, lock.Unlock()) }()
	}
	e.bury(ctx) // a restore that was killed holds nothing back
	var refused error
	done.Plan, err = e.Catalog.Forget(ctx, job.Job, job.Why, func(sets []policy.Set) policy.Plan {
		plan := job.decide(sets, e.Now())
		if refused = job.refusal(plan); refused != nil {
			return nil
		}
		return plan
	}, job.Volumes...)
	if err = errors.Join(err, refused); err != nil {
		return done, err
	}
	for _, id := range done.Plan.LetGo() {
		if _, whole, err := e.Catalog.WasForgotten(ctx, id); err == nil && !whole {
			e.Say("set %s is let go, and stays on other volumes", id)
			continue
		}
		e.Say("set %s is forgotten", id)
	}
	done.Erased, done.Left, err = e.erase(ctx, job.Job, nil)
	if err == nil && len(done.Left) > 0 {
		err = leftError(done.Left)
	}
	return done, err
}

func (f *Forget) check() error {
	if f.Rules.Empty() && len(f.Sets) == 0 && !f.Finish {
		return &capstan.Error{
			Class: capstan.ErrUsage, Op: "forget sets of job", Object: string(f.Job), Err: errors.New("no policy says what to keep"),
			Safe: "nothing was changed", Next: "give --keep-last, --keep-daily and the like, or keep in the job's configuration",
		}
	}
	return nil
}

func (f *Forget) decide(sets []policy.Set, now time.Time) policy.Plan {
	switch {
	case f.Finish:
		return nil
	case len(f.Sets) > 0:
		return policy.Choose(sets, f.Sets)
	}
	zone := f.Zone
	if zone == nil {
		zone = time.UTC
	}
	return policy.Apply(sets, f.Rules, now, zone)
}

// refusal is the error where a set that was named must stay, or is not there.
func (f *Forget) refusal(plan policy.Plan) error {
	var stay []string
	next := "see: capstan sets"
	for _, v := range plan {
		if len(f.Sets) == 0 || !v.Keep {
			continue
		}
		stay = append(stay, fmt.Sprintf("set %s stays: %s", v.Set, reasons(v)))
		switch v.Reasons[0].Rule {
		case policy.Pinned:
			next = "capstan unpin " + string(v.Set)
		case policy.Waiting:
			next = "capstan retry RUN or capstan abandon RUN; see: capstan runs"
		case policy.Running:
			next = "make the same call again, which resumes it, or: capstan abandon RUN"
		case policy.InUse:
			next = "wait for it, or: capstan cancel RUN; see: capstan runs"
		case policy.Base:
			next = "name the sets that build on it too"
		default: // that it is the last one: nothing helps
		}
	}
	if len(stay) == 0 {
		return nil
	}
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "forget", Err: errors.New(strings.Join(stay, "; ")),
		Safe: "no set was forgotten", Next: next,
	}
}

func reasons(v policy.Verdict) string {
	texts := make([]string, len(v.Reasons))
	for i, r := range v.Reasons {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}

// leftError says where bytes of forgotten sets lie still.
func leftError(left []Leftover) error {
	var texts, sets []string
	for _, l := range left {
		text := fmt.Sprintf("%s still holds some of it (%s)", l.Location, l.Problem)
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
		if !slices.Contains(sets, string(l.Set)) {
			sets = append(sets, string(l.Set))
		}
	}
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "forgotten set", Object: strings.Join(sets, ", "), Err: errors.New(strings.Join(texts, "; ")),
		Safe: "it is forgotten, and all other sets are whole", Next: "when the volume is there again, the next forget or backup removes it",
	}
}
