package digest

import (
	"context"
	"crypto/sha256"
	"hash"

	"capstan"
)

// Stream is the SHA-256 of bytes that come one after another. One goroutine uses
// it at a time.
type Stream struct {
	plain  hash.Hash // where there are no lanes
	lane   lane
	kept   [64]byte // the start of a block whose end has not come
	n      int      // of kept
	length uint64   // bytes that came
}

// NewStream begins with nothing.
func NewStream() *Stream {
	s := &Stream{}
	s.Reset()
	return s
}

// Reset makes it as new.
func (s *Stream) Reset() {
	if !hasLanes {
		s.plain = sha256.New()
		return
	}
	s.lane.reset()
	s.n, s.length = 0, 0
}

// Sum is the hash of what came. Nothing may come after it, but Reset.
func (s *Stream) Sum() capstan.Hash {
	if !hasLanes {
		return capstan.Hash(s.plain.Sum(nil))
	}
	return s.lane.finish(s.kept[:s.n], s.length)
}

// Work is what is to be added to a stream. Data stays as it is until Done is closed.
// Of one stream, one piece of work is under way at a time.
type Work struct {
	Stream *Stream
	Data   []byte
	Done   chan struct{} // closed when it is added
}

// Hasher adds work to streams, to two at once where it can.
type Hasher struct{ work chan *Work }

// waiting is how much work may wait for a hasher before Add does for it.
const waiting = 64

// NewHasher makes one that does nothing until somebody calls Run.
func NewHasher() *Hasher { return &Hasher{work: make(chan *Work, waiting)} }

// Add hands work over, and does it at once where there are no lanes. It waits for
// Run only, never for who waits for the work; false: ctx ended before.
func (h *Hasher) Add(ctx context.Context, w *Work) bool {
	if !hasLanes {
		_, _ = w.Stream.plain.Write(w.Data) // a hash takes everything
		close(w.Done)
		return true
	}
	select {
	case h.work <- w:
		return true
	case <-ctx.Done():
		return false
	}
}

// mostAtOnce bounds what is hashed between two looks at what else there is.
const mostAtOnce = 64 << 10

// Run does work until ctx ends; what is left then stays undone. Several may run.
func (h *Hasher) Run(ctx context.Context) {
	var a, b *Work
	for ctx.Err() == nil {
		if a == nil {
			select {
			case a = <-h.work:
			case <-ctx.Done():
				return
			}
		}
		if b == nil {
			select {
			case b = <-h.work:
			default:
			}
		}
		switch one, two := a.blocks(), b.blocks(); {
		case one == nil:
			close(a.Done)
			a, b = b, nil
		case b == nil:
			n := min(len(one), mostAtOnce)
			a.Stream.lane.takeOne(one[:n])
			a.took(n)
		case two == nil:
			close(b.Done)
			b = nil
		default:
			n := min(len(one), len(two))
			takeTwo(&a.Stream.lane, one[:n], &b.Stream.lane, two[:n])
			a.took(n)
			b.took(n)
		}
	}
}

// blocks gives the whole blocks that come next, or nil when there are none: then
// all is taken.
func (w *Work) blocks() []byte {
	if w == nil {
		return nil
	}
	s := w.Stream
	if s.n > 0 && s.n < len(s.kept) {
		n := copy(s.kept[s.n:], w.Data)
		s.n, s.length, w.Data = s.n+n, s.length+uint64(n), w.Data[n:]
	}
	if s.n == len(s.kept) {
		return s.kept[:]
	}
	if whole := len(w.Data) &^ (len(s.kept) - 1); s.n == 0 && whole > 0 {
		return w.Data[:whole]
	}
	if s.n == 0 {
		s.n = copy(s.kept[:], w.Data)
		s.length, w.Data = s.length+uint64(s.n), nil
	}
	return nil
}

// took says that n bytes of what blocks gave were taken.
func (w *Work) took(n int) {
	if w.Stream.n > 0 {
		w.Stream.n = 0
		return
	}
	w.Stream.length += uint64(n)
	w.Data = w.Data[n:]
}
