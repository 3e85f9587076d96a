package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// renewParts is how often a lease is renewed within its time.
	renewParts = 3
	// retryParts is the pause after a renewal that failed, as a part of the time.
	retryParts = 20
	// tellTime bounds how long it is looked up who has a lease that was lost.
	tellTime = 2 * time.Second
)

// errTooLate is why a lease was not renewed although the catalog could be written.
var errTooLate = errors.New("the catalog was free too late")

// keep renews the lease until ctx ends or the lease is lost.
func (l *Lease) keep(ctx context.Context) {
	defer close(l.kept)
	timer := time.NewTimer(l.ttl / renewParts)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.done: // Valid noticed it
			return
		case <-timer.C:
		}
		left := l.left()
		var err error
		if left > 0 {
			err = l.renew(ctx, left)
		}
		switch {
		case err == nil && left > 0:
			timer.Reset(l.ttl / renewParts)
			continue
		case ctx.Err() != nil:
			return
		case isLeaseLost(err):
			l.lose(err)
			return
		case l.left() <= 0:
			l.lose(l.lost(l.why(ctx, err)))
			return
		}
		timer.Reset(min(l.ttl/retryParts, l.left()))
	}
}

// left is how long the lease is valid if it is not renewed.
func (l *Lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until - l.c.boot()
}

// lose ends the lease unless Valid did so before.
func (l *Lease) lose(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.end(why)
	}
}

// renew moves the end of the lease on. It takes no longer than the lease is valid.
func (l *Lease) renew(ctx context.Context, left time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, left, errTooLate)
	defer cancel()
	var until time.Duration
	var now time.Time
	err := l.c.write(ctx, "renew the lease of "+l.fence.Resource, func(t *tx) error {
		// The clock is read while the catalog is held: what others judge the row by,
		// and what is judged here, is the same moment.
		boot := l.c.boot()
		if l.left() <= 0 {
			return errTooLate
		}
		now = l.c.now()
		until = boot + l.ttl
		touched, err := t.exec(sqlRenewLease, int64(until), unix(now), unix(now.Add(l.ttl)), l.fence.Resource, l.fence.Epoch, l.c.owner)
		if err != nil || touched > 0 {
			return err
		}
		return t.fenced([]Fence{l.fence})
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until, l.renewed = until-l.ttl/leaseMargin, now
	return nil
}

// why says why a lease that was not renewed in time is lost, and who has it now.
func (l *Lease) why(ctx context.Context, failure error) error {
	l.mu.Lock()
	why := l.silence()
	l.mu.Unlock()
	if failure != nil {
		why = fmt.Errorf("%w (%w)", why, failure)
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	row, found, err := findLease(ctx, l.c.reads, l.fence.Resource)
	if err == nil && found && row.epoch != l.fence.Epoch && row.owner != "" {
		why = fmt.Errorf("%w; %s", why, row.holder())
	}
	return why
}
