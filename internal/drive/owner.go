package drive

import (
	"context"
	"time"
)

// owner is the one goroutine that is ever inside the device. It is used from one
// goroutine at a time.
type owner struct {
	calls   chan *call
	pending *call // one that was given up, and may still be in the device
	last    func()
}

type call struct {
	op    string
	run   func()
	since time.Time
	done  chan struct{}
}

func newOwner() *owner {
	o := &owner{calls: make(chan *call)}
	go func() {
		for c := range o.calls {
			c.run()
			close(c.done)
		}
		if o.last != nil {
			o.last()
		}
	}()
	return o
}

// hung gives the call that was given up and is still in the device, or nil. gone
// reports that there was one and that it has come back since the last question.
func (o *owner) hung() (still *call, gone bool) {
	if o.pending == nil {
		return nil, false
	}
	select {
	case <-o.pending.done:
		o.pending = nil
		return nil, true
	default:
		return o.pending, false
	}
}

// do has run called by the owner, and waits for it or for the end of ctx; there must
// be no call that hangs. givenUp means that run may still be at work.
func (o *owner) do(ctx context.Context, op string, run func()) (givenUp bool) {
	c := &call{op: op, run: run, since: time.Now(), done: make(chan struct{})}
	o.calls <- c // the goroutine is idle: nothing is pending
	select {
	case <-c.done:
		return false
	case <-ctx.Done():
		o.pending = c
		return true
	}
}

// end lets the goroutine go, at once or when the call that hangs comes back; last,
// which may be nil, is what it does then.
func (o *owner) end(last func()) {
	o.last = last
	close(o.calls)
}
