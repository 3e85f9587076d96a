package emulator

import (
	"io"
	"os"
	"sync"
)

// store is where the bytes of a cartridge are.
type store interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// memory is a store that ends with the process. It grows by pieces, so that nothing
// is copied.
type memory struct {
	mu     sync.Mutex
	size   int64
	pieces [][]byte
}

const piece = 1 << 20

// ReadAt reads as io.ReaderAt demands.
func (m *memory) ReadAt(p []byte, offset int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset >= m.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), m.size-offset)]
	m.each(want, offset, func(mine, theirs []byte) { copy(theirs, mine) })
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(p), nil
}

// WriteAt writes as io.WriterAt demands.
func (m *memory) WriteAt(p []byte, offset int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size = max(m.size, offset+int64(len(p)))
	for int64(len(m.pieces))*piece < m.size {
		m.pieces = append(m.pieces, make([]byte, piece))
	}
	m.each(p, offset, func(mine, theirs []byte) { copy(mine, theirs) })
	return len(p), nil
}

// each gives the pieces that p covers, with the part of p that each is for.
func (m *memory) each(p []byte, offset int64, do func(mine, theirs []byte)) {
	for len(p) > 0 {
		mine := m.pieces[offset/piece][offset%piece:]
		n := min(len(mine), len(p))
		do(mine[:n], p[:n])
		p, offset = p[n:], offset+int64(n)
	}
}

// Truncate drops what lies behind size.
func (m *memory) Truncate(size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size = min(m.size, size)
	m.pieces = m.pieces[:(m.size+piece-1)/piece]
	return nil
}

// Sync has nothing to do.
func (m *memory) Sync() error { return nil }

// Close has nothing to do: a cartridge in memory can be loaded again.
func (m *memory) Close() error { return nil }

// file is a store on a disk.
type file struct{ *os.File }
