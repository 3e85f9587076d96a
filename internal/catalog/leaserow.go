package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/machine"
)

// Fence names the owner of something exclusive by its epoch. Transactions that are
// given one change nothing once that owner is not the present one any more.
type Fence struct {
	Resource string `json:"resource"`
	Epoch    int64  `json:"epoch"` // from 1; grows with each owner and is never given twice
}

// LeaseInfo is a lease that somebody holds, or held last and did not give back.
type LeaseInfo struct {
	Fence
	Purpose string
	Holder  machine.Place
	Granted time.Time
	Renewed time.Time // by the wall clock of the holder, as the other times
	Expires time.Time // unless it is renewed
}

// Leases lists what was not given back, by resource.
func (c *Catalog) Leases(ctx context.Context) ([]LeaseInfo, error) {
	var all []LeaseInfo
	err := each(ctx, c.reads, sqlLeases, nil, func(rows *sql.Rows) error {
		r, err := scanLease(rows)
		all = append(all, r.info())
		return err
	})
	return all, c.failed(ctx, "list leases", err)
}

// leaseRow is a row of leases.
type leaseRow struct {
	resource, owner, purpose  string
	epoch, renewals           int64
	place                     machine.Place
	ttl, deadline             time.Duration // deadline: by the clock of the holder's boot
	granted, renewed, expires time.Time
}

func scanLease(rows *sql.Rows) (r leaseRow, err error) {
	var granted, renewed, expires int64
	p := &r.place
	err = rows.Scan(&r.resource, &r.epoch, &r.owner, &r.purpose, &p.Host, &p.Machine, &p.Boot, &p.Space, &p.PID, &p.Started,
		&r.renewals, &r.ttl, &r.deadline, &granted, &renewed, &expires)
	r.granted, r.renewed, r.expires = fromUnix(granted), fromUnix(renewed), fromUnix(expires)
	return r, err
}

func findLease(ctx context.Context, from queries, resource string) (r leaseRow, found bool, err error) {
	err = each(ctx, from, sqlLease, with(resource), func(rows *sql.Rows) (err error) {
		found = true
		r, err = scanLease(rows)
		return err
	})
	return r, found, err
}

func (r *leaseRow) info() LeaseInfo {
	return LeaseInfo{
		Fence: Fence{r.resource, r.epoch}, Purpose: r.purpose, Holder: r.place,
		Granted: r.granted, Renewed: r.renewed, Expires: r.expires,
	}
}

// holder says for people who has the lease.
func (r *leaseRow) holder() string {
	return fmt.Sprintf("%s has it for %s, since %s, until %s if it does not renew it", r.place, r.purpose,
		r.granted.Local().Format(time.DateTime), r.expires.Local().Format(time.DateTime))
}

func (r *leaseRow) locked() error {
	return &capstan.Error{
		Class: capstan.ErrLocked, Op: "lease of", Object: r.resource, Err: errors.New(r.holder()),
		Next: "wait for it, or see: capstan runs",
	}
}

// verdict is what can be said of a lease from here.
type verdict int

const (
	leaseHeld   verdict = iota
	leaseFree           // nobody can be at work under it
	leaseSilent         // its owner cannot be looked at, and should have been heard of
)

// silent is how long the row of a lease has been seen without a change, from here.
type silent struct {
	epoch, renewals int64
	since           time.Duration // by the clock of this boot; meaningless while epoch is 0
}

// judge says what a lease is from here. That of a process beside this one is judged
// by the process and by the clock of the boot. That of another machine has a clock
// that is not known here: it is free when nothing was heard for its whole time while
// this process looked on, and only then.
func (r *leaseRow) judge(here machine.Place, boot time.Duration, now time.Time, seen *silent) verdict {
	if r.owner == "" {
		return leaseFree
	}
	switch here.Relation(r.place) {
	case machine.Before:
		return leaseFree
	case machine.Beside:
		if boot >= r.deadline || !r.place.Alive() {
			return leaseFree
		}
		return leaseHeld
	case machine.Foreign:
	}
	if seen.epoch != r.epoch || seen.renewals != r.renewals {
		first := seen.epoch == 0
		*seen = silent{r.epoch, r.renewals, boot}
		if !first {
			return leaseHeld // it was just heard of
		}
	}
	if boot-seen.since >= r.ttl+r.ttl/leaseMargin {
		return leaseFree
	}
	// A wall clock that differs by more than the lease's time says nothing.
	if now.After(r.expires) || now.Before(r.renewed.Add(-r.ttl)) {
		return leaseSilent
	}
	return leaseHeld
}

// fenced fails unless every fence names the present owner.
func (t *tx) fenced(fences []Fence) error {
	for _, f := range fences {
		r, found, err := findLease(t.ctx, t, f.Resource)
		switch {
		case err != nil:
			return err
		case !found:
			return leaseLost(f.Resource, errors.New("the catalog does not know it"))
		case r.epoch != f.Epoch && r.owner != "":
			return leaseLost(f.Resource, errors.New(r.holder()))
		case r.epoch != f.Epoch:
			return leaseLost(f.Resource, fmt.Errorf("it went to %s at %s, for %s", r.place, r.granted.Local().Format(time.DateTime), r.purpose))
		case r.owner == "":
			return leaseLost(f.Resource, errGivenBack)
		}
	}
	return nil
}

func isLeaseLost(err error) bool { return errors.Is(err, capstan.ErrLeaseLost) }
