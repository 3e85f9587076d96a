package digest

import (
	"context"
	"slices"
	"sync"
)

// Work is what is to be added to a stream. Data stays as it is until it is done.
type Work struct {
	Stream *Stream
	Data   []byte
}

// Hasher adds work to streams, to two at once where it can.
type Hasher struct {
	mu      sync.Mutex
	more    sync.Cond // there is work, or a stream is free
	waiting []*task   // in the order in which it came
}

// task is a piece of work that not all is done of.
type task struct {
	Work
	*batch
}

// batch is what was added together.
type batch struct {
	left int // tasks that are not done; guarded by the hasher
	done chan struct{}
}

// NewHasher makes one that does nothing until somebody calls Run.
func NewHasher() *Hasher {
	h := &Hasher{}
	h.more.L = &h.mu
	return h
}

// Add hands work over, and gives a channel that is closed when all of it is done: never
// where Run ends before. Of one stream several pieces may be under way, which are
// added in the order in which they came. Pieces of several streams that are handed over
// together keep both lanes busy. It does not block, and keeps no bound on what waits.
func (h *Hasher) Add(work []Work) (done <-chan struct{}) {
	b := &batch{left: len(work), done: make(chan struct{})}
	if len(work) == 0 {
		close(b.done)
		return b.done
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range work {
		h.waiting = append(h.waiting, &task{w, b})
	}
	h.more.Broadcast()
	return b.done
}

// next takes the first task whose stream is free. If there is none, it gives nil, or
// waits for one until ctx ends.
func (h *Hasher) next(ctx context.Context, wait bool) *task {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ctx.Err() == nil {
		for i, t := range h.waiting {
			if !t.Stream.taken {
				t.Stream.taken = true
				h.waiting = slices.Delete(h.waiting, i, i+1)
				return t
			}
		}
		if !wait {
			return nil
		}
		h.more.Wait()
	}
	return nil
}

// finish says that a task is done.
func (h *Hasher) finish(t *task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.Stream.taken = false
	if t.left--; t.left == 0 {
		close(t.done)
	}
	if len(h.waiting) > 0 {
		h.more.Broadcast()
	}
}

// mostAtOnce bounds what is hashed between two looks at what else there is.
const mostAtOnce = 64 << 10

// Run does work until ctx ends; what is left then stays undone. Several may run.
func (h *Hasher) Run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.more.Broadcast()
	})()
	var a, b *task
	for {
		if a == nil {
			a = h.next(ctx, true)
		}
		if a == nil || ctx.Err() != nil {
			return
		}
		if !hasLanes {
			_, _ = a.Stream.plain.Write(a.Data) // a hash takes everything
			h.finish(a)
			a = nil
			continue
		}
		if b == nil {
			b = h.next(ctx, false)
		}
		a, b = h.take(a, b)
	}
}

// take hashes a piece of a, and of b where there is one, and gives what is left of them.
func (h *Hasher) take(a, b *task) (_, _ *task) {
	one, two := a.blocks(), b.blocks()
	switch {
	case one == nil:
		h.finish(a)
		return b, nil
	case b == nil:
		n := min(len(one), mostAtOnce)
		a.Stream.lane.takeOne(one[:n])
		a.took(n)
	case two == nil:
		h.finish(b)
		return a, nil
	default:
		n := min(len(one), len(two))
		takeTwo(&a.Stream.lane, one[:n], &b.Stream.lane, two[:n])
		a.took(n)
		b.took(n)
	}
	return a, b
}

// blocks gives the whole blocks that come next, or nil when there are none: then
// all is taken.
func (t *task) blocks() []byte {
	if t == nil {
		return nil
	}
	s := t.Stream
	if s.n > 0 && s.n < len(s.kept) {
		n := copy(s.kept[s.n:], t.Data)
		s.n, s.length, t.Data = s.n+n, s.length+uint64(n), t.Data[n:]
	}
	if s.n == len(s.kept) {
		return s.kept[:]
	}
	if whole := len(t.Data) &^ (len(s.kept) - 1); s.n == 0 && whole > 0 {
		return t.Data[:whole]
	}
	if s.n == 0 {
		s.n = copy(s.kept[:], t.Data)
		s.length, t.Data = s.length+uint64(s.n), nil
	}
	return nil
}

// took says that n bytes of what blocks gave were taken.
func (t *task) took(n int) {
	if t.Stream.n > 0 {
		t.Stream.n = 0
		return
	}
	t.Stream.length += uint64(n)
	t.Data = t.Data[n:]
}
