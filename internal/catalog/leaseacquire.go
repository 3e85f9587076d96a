package catalog

import (
	"context"
	"errors"
	"time"

	"capstan/internal/machine"
)

// leasePoll is how often the row of a lease that another process has is looked at.
const leasePoll = 250 * time.Millisecond

// Acquire gets the lease of a resource ("volume:UUID", "set:ID", "stage:ID"), for
// ttl at a time; purpose tells people what for ("run 12 of job home"). It is had
// when nobody has it, when its time is over, and at once when its owner's process
// is gone or was of an earlier boot. Else the error is capstan.ErrLocked and says
// who has it, since when, and until when.
//
// It does not wait for an owner that lives. A lease of another machine (or of a
// container with processes of its own) whose time seems to be over is looked at for
// that time by the clock of this machine first, as a declared wait: clocks of two
// machines prove nothing.
//
// The caller releases the lease.
func (c *Catalog) Acquire(ctx context.Context, resource, purpose string, ttl time.Duration) (*Lease, error) {
	return c.acquire(ctx, request{resource, purpose, ttl}, false)
}

// AcquireWait is Acquire, but waits until the lease can be had, or ctx ends.
func (c *Catalog) AcquireWait(ctx context.Context, resource, purpose string, ttl time.Duration) (*Lease, error) {
	return c.acquire(ctx, request{resource, purpose, ttl}, true)
}

// request is what somebody wants.
type request struct {
	resource, purpose string
	ttl               time.Duration
}

func (c *Catalog) acquire(ctx context.Context, want request, wait bool) (*Lease, error) {
	op := "lease of " + want.resource
	if want.resource == "" || want.ttl <= 0 {
		return nil, c.failed(ctx, op, errors.New("a lease needs a resource and a time"))
	}
	here, err := c.here()
	if err != nil {
		return nil, c.failed(ctx, op, err)
	}
	var seen silent
	var waiting func()
	defer func() {
		if waiting != nil {
			waiting()
		}
	}()
	for {
		freed := c.waker() // before looking, so that nothing is missed
		row, state, err := c.look(ctx, here, want.resource, &seen)
		if err == nil && state == leaseFree {
			var lease *Lease
			if lease, row, state, err = c.take(ctx, here, want, &seen); lease != nil {
				return lease, nil
			}
		}
		switch {
		case err != nil:
			return nil, c.failed(ctx, op, err)
		case state == leaseFree: // not reached: what is free is taken
			continue
		case state == leaseHeld && !wait:
			return nil, row.locked()
		}
		if waiting == nil {
			waiting = c.wait("lock")
		}
		if err := pauseFor(ctx, leasePoll, freed); err != nil {
			return nil, err
		}
	}
}

// look judges the row without holding up anybody.
func (c *Catalog) look(ctx context.Context, here machine.Place, resource string, seen *silent) (leaseRow, verdict, error) {
	row, found, err := findLease(ctx, c.reads, resource)
	if err != nil || !found {
		return row, leaseFree, err
	}
	return row, row.judge(here, c.boot(), c.now(), seen), nil
}

// take takes the lease if it is still free once others are excluded; lease is nil
// if it is not.
func (c *Catalog) take(ctx context.Context, here machine.Place, want request, seen *silent) (lease *Lease, row leaseRow, state verdict, err error) {
	var boot time.Duration
	var now time.Time
	err = c.write(ctx, "lease of "+want.resource, func(t *tx) error {
		if _, err := t.exec(sqlNewLease, want.resource, want.resource); err != nil {
			return err
		}
		if row, _, err = findLease(t.ctx, t, want.resource); err != nil {
			return err
		}
		boot, now = c.boot(), c.now()
		if state = row.judge(here, boot, now, seen); state != leaseFree {
			return nil
		}
		_, err := t.exec(sqlTakeLease, c.owner, want.purpose, here.Host, here.Machine, here.Boot, here.Space, here.PID, here.Started,
			int64(want.ttl), int64(boot+want.ttl), unix(now), unix(now), unix(now.Add(want.ttl)), want.resource, row.epoch)
		return err
	})
	if err != nil || state != leaseFree {
		return nil, row, state, err
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx)) // until Release
	lease = &Lease{
		c: c, fence: Fence{want.resource, row.epoch + 1}, ttl: want.ttl,
		stop: stop, kept: make(chan struct{}), done: make(chan struct{}),
		until: boot + want.ttl - want.ttl/leaseMargin, renewed: now,
	}
	c.mu.Lock()
	c.leases[lease] = struct{}{}
	c.mu.Unlock()
	go lease.keep(keeping)
	return lease, row, state, nil
}

// pauseFor waits for d, or until woken.
func pauseFor(ctx context.Context, d time.Duration, woken <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-woken:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
