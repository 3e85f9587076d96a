package files

import (
	"sync"
	"sync/atomic"
)

const blockSize = 256 << 10

// arena recycles the blocks that small files are read into.
type arena struct {
	keep int // free blocks to keep

	mu   sync.Mutex
	free []*block
}

// block holds the contents of several small files that one goroutine read. It
// goes back to its arena when the last reference is released.
type block struct {
	arena *arena
	buf   []byte
	used  int // touched only by the goroutine that fills the block
	refs  atomic.Int32
}

// get gives an empty block with one reference, the caller's.
func (a *arena) get() *block {
	a.mu.Lock()
	var b *block
	if n := len(a.free); n > 0 {
		b, a.free = a.free[n-1], a.free[:n-1]
	}
	a.mu.Unlock()
	if b == nil {
		b = &block{arena: a, buf: make([]byte, blockSize)}
	}
	b.used = 0
	b.refs.Store(1)
	return b
}

// release drops one reference.
func (b *block) release() {
	if b.refs.Add(-1) > 0 {
		return
	}
	a := b.arena
	a.mu.Lock()
	if len(a.free) < a.keep {
		a.free = append(a.free, b)
	}
	a.mu.Unlock()
}

// filler is one goroutine's way into the arena.
type filler struct {
	arena *arena
	block *block
}

// reserve gives n bytes to read into, at most smallContent. They are the
// caller's until the next reserve, and stay reserved only if kept.
func (f *filler) reserve(n int) []byte {
	if f.block == nil || len(f.block.buf)-f.block.used < n {
		f.drop()
		f.block = f.arena.get()
	}
	from := f.block.used
	return f.block.buf[from : from+n : from+n]
}

// keep commits the n bytes reserved last, and gives the block that holds them
// with a reference for the caller.
func (f *filler) keep(n int) *block {
	f.block.used += n
	f.block.refs.Add(1)
	return f.block
}

// drop lets go of the current block.
func (f *filler) drop() {
	if f.block != nil {
		f.block.release()
		f.block = nil
	}
}
