package files

import (
	"context"
	"sync"
)

// budget bounds the bytes that are read ahead. One goroutine acquires, in the
// order of emission, so what is due next always has what it needs.
type budget struct {
	limit int64
	wake  chan struct{}

	mu   sync.Mutex
	used int64
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, wake: make(chan struct{}, 1)}
}

// acquire blocks until n bytes are free or ctx ends. More than the whole limit
// is granted when nothing else is in use.
func (b *budget) acquire(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		granted := b.used == 0 || b.used+n <= b.limit
		if granted {
			b.used += n
		}
		b.mu.Unlock()
		if granted {
			return nil
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release gives n bytes back.
func (b *budget) release(n int64) {
	b.mu.Lock()
	b.used -= n
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
