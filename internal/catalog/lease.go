package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"capstan"
)

// Lease is the right to something that only one may use: a volume, a set, a stage.
// It is renewed by a goroutine of its own from Acquire to Release, every third of
// its time. It ends with Release, with the process, and when it could not be
// renewed in time; then whoever wants it next has it, under a higher epoch.
//
// Its methods may be called from several goroutines.
type Lease struct {
	c     *Catalog
	fence Fence
	ttl   time.Duration

	stop   context.CancelFunc // ends the keeper
	kept   chan struct{}      // closed when the keeper has ended
	done   chan struct{}      // closed when the lease is not held any more
	giving sync.Once
	given  error // of the first Release

	mu      sync.Mutex
	until   time.Duration // by c.boot, when it ends unless it is renewed
	renewed time.Time     // last, by the wall clock
	err     error         // why it is not held any more
}

// errGivenBack is why a lease that was released is not held any more.
var errGivenBack = errors.New("it was given back")

// leaseMargin is the part of a lease's time, at its end, in which its owner does
// nothing more under it: what it began before then has that long to come to its end.
const leaseMargin = 10

// Fence gives what the catalog's transactions and other guards check.
func (l *Lease) Fence() Fence { return l.fence }

// Valid reports whether the lease is still held, as far as that can be known here
// and now: nil, or capstan.ErrLeaseLost with the reason, from then on for good. It
// is cheap, does no I/O and asks a clock that goes on while the process is stopped
// or the machine suspended, so that whoever asks it before every step does nothing
// more after the time is over.
func (l *Lease) Valid() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.c.boot() >= l.until {
		l.end(l.lost(l.silence()))
	}
	return l.err
}

// Done is closed when the lease is not held any more.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Err is nil while nobody has noticed the loss of the lease; afterwards it is what
// Valid gives. It looks at no clock.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Context gives a context for work under the lease: it ends when the lease is lost,
// with the reason as its cause. The caller calls cancel when the work is over.
func (l *Lease) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-l.done:
			end(l.Err())
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		end(context.Canceled)
		<-over
	}
}

// Release gives the lease back, so that the next owner has it at once. It waits
// for the renewal that is under way. A lease that is lost is left as it is. After
// an error the lease ends with its time, or with the process. A second call does
// nothing and gives the same.
func (l *Lease) Release(ctx context.Context) error {
	l.giving.Do(func() {
		held := l.drop(l.lost(errGivenBack))
		if !held {
			return
		}
		l.given = l.c.write(ctx, "give back "+l.fence.Resource, func(t *tx) error {
			now := unix(l.c.now())
			_, err := t.exec(sqlReleaseLease, now, now, l.fence.Resource, l.fence.Epoch, l.c.owner)
			return err
		})
		l.c.wake()
	})
	return l.given
}

// drop ends the keeper and the lease in this process; false if it had ended before.
func (l *Lease) drop(why error) (held bool) {
	l.stop()
	<-l.kept
	l.mu.Lock()
	defer l.mu.Unlock()
	held = l.err == nil
	if held {
		l.end(why)
	}
	l.c.mu.Lock()
	delete(l.c.leases, l)
	l.c.mu.Unlock()
	return held
}

// end is called under mu, once.
func (l *Lease) end(why error) {
	l.err = why
	close(l.done)
}

// silence says that the time is over.
func (l *Lease) silence() error {
	return fmt.Errorf("it could not be renewed since %s", l.renewed.Local().Format(time.DateTime))
}

func (l *Lease) lost(why error) error { return leaseLost(l.fence.Resource, why) }

func leaseLost(resource string, why error) error {
	return &capstan.Error{
		Class: capstan.ErrLeaseLost, Op: "lease of", Object: resource, Err: why,
		Safe: "nothing more is written under it", Next: "see: capstan runs",
	}
}

// dropLeases ends what was not released, and tells how many there were.
func (c *Catalog) dropLeases() int {
	c.mu.Lock()
	kept := make([]*Lease, 0, len(c.leases))
	for l := range c.leases {
		kept = append(kept, l)
	}
	c.mu.Unlock()
	held := 0
	for _, l := range kept {
		if l.drop(l.lost(errClosed)) {
			held++
		}
	}
	return held
}

// wake tells those who wait for a lease here that one was given back.
func (c *Catalog) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.freed)
	c.freed = make(chan struct{})
}

// waker gives the channel that wake closes next.
func (c *Catalog) waker() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.freed
}
