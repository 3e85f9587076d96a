package digest

import (
	"crypto/sha256"
	"hash"

	"capstan"
)

// Stream is the SHA-256 of bytes that come one after another. What is added to it is
// a Hasher's until that is done, then it is one goroutine's again.
type Stream struct {
	plain  hash.Hash // where there are no lanes
	lane   lane
	kept   [64]byte // the start of a block whose end has not come
	n      int      // of kept
	length uint64   // bytes that came
	taken  bool     // a hasher adds to it
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
