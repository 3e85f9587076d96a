package sets

import (
	"container/list"
	"context"
	"math/bits"
	"slices"
	"sync"

	"capstan/internal/archive"
)

// frames are decoded frames of several archives. Who needs one gets it; it is decoded
// once, however many wait for it, and kept for later as far as memory goes: first
// those go that were passed, then those that were used longest ago. While all that
// memory has room for is in use, the next one waits; who uses a frame waits for none.
type frames struct {
	budget  int64
	workers int // decode at a time, at most

	mu       sync.Mutex
	held     int64 // bytes of the buffers of known frames
	decoding int   // frames
	known    map[frameKey]*frame
	idle     *list.List    // of *frame without users, the one to keep longest at the front
	spare    [][]byte      // of frames that were given up
	reserve  int64         // bytes of spare
	changed  chan struct{} // closed when there may be room, then made anew
}

type frameKey struct {
	book  *book
	index int
}

// frame is a decoded frame. data and err may be read once ready is closed.
type frame struct {
	frameKey
	ready chan struct{}
	data  []byte
	err   error

	size  int64 // of the buffer, which counts as held
	users int
	place *list.Element // in idle; nil while it has users
}

const (
	// leastFrames may be in use however large they are, and there is room for as many
	// of the usual size: a scan goes on while a content is read.
	leastFrames = 2
	// leastBuffer is the least that a buffer takes.
	leastBuffer = 256 << 10
)

// newFrames keeps about budget bytes of frames, and decodes as many at a time as there
// are workers, if they have room: what decoding reads takes about as much beside it.
func newFrames(budget int64, workers int) *frames {
	budget = max(budget, leastFrames*archive.DefaultFrame)
	return &frames{
		budget: budget, workers: max(min(workers, int(budget/archive.DefaultFrame)), leastFrames),
		known: map[frameKey]*frame{}, idle: list.New(), changed: make(chan struct{}),
	}
}

// bufferFor is the size of a frame's buffer. There are few sizes, so that buffers serve
// again, and the frames of a small archive take little.
func bufferFor(length int64) int64 {
	return max(leastBuffer, int64(1)<<bits.Len64(uint64(max(length, 1)-1)))
}

// get gives a frame, which stays as it is until release. It blocks while others use all
// that there is room for. Its error is that of ctx alone: what reading met is in the
// frame.
func (f *frames) get(ctx context.Context, b *book, index int) (*frame, error) {
	key := frameKey{b, index}
	for {
		fr, buffer, changed := f.take(key)
		switch {
		case buffer != nil:
			f.decode(fr, buffer)
			return fr, nil
		case fr != nil:
			select {
			case <-fr.ready:
				return fr, nil
			case <-ctx.Done():
				f.release(fr, false)
				return nil, context.Cause(ctx)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take gives a frame that is known, or a new one with the buffer into which the caller
// decodes it; none while there is no room, and what says that there may be some.
func (f *frames) take(key frameKey) (fr *frame, buffer []byte, changed chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fr = f.known[key]; fr == nil {
		size := bufferFor(key.book.Reader.Frames()[key.index].Length)
		for f.held+size > f.budget && f.idle.Len() > 0 {
			f.giveUp(f.idle.Back().Value.(*frame))
		}
		if f.decoding == f.workers || f.held+size > f.budget && len(f.known) >= leastFrames {
			return nil, nil, f.changed
		}
		fr = &frame{frameKey: key, ready: make(chan struct{}), size: size}
		buffer = f.buffer(size)
		f.known[key] = fr
		f.held += size
		f.decoding++
	}
	fr.users++
	if fr.place != nil {
		f.idle.Remove(fr.place)
		fr.place = nil
	}
	return fr, buffer, nil
}

// decode fills a frame that was taken.
func (f *frames) decode(fr *frame, buffer []byte) {
	fr.data, fr.err = fr.book.Reader.ReadFrame(buffer[:0], fr.index)
	close(fr.ready)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decoding--
	f.tell()
}

// tell wakes those who wait for room.
func (f *frames) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// buffer gives one of a size, which serves again if there is one. Those of other sizes
// make way where there is no room for both.
func (f *frames) buffer(size int64) []byte {
	if i := slices.IndexFunc(f.spare, func(b []byte) bool { return int64(cap(b)) == size }); i >= 0 {
		b := f.spare[i]
		f.spare = slices.Delete(f.spare, i, i+1)
		f.reserve -= size
		return b
	}
	for len(f.spare) > 0 && f.held+f.reserve+size > f.budget {
		f.reserve -= int64(cap(f.spare[0]))
		f.spare = slices.Delete(f.spare, 0, 1)
	}
	return make([]byte, 0, size)
}

func (f *frames) giveUp(fr *frame) {
	f.idle.Remove(fr.place)
	fr.place = nil
	delete(f.known, fr.frameKey)
	f.held -= fr.size
	if int64(cap(fr.data)) == fr.size && f.held+f.reserve+fr.size <= f.budget {
		f.spare = append(f.spare, fr.data)
		f.reserve += fr.size
	}
	fr.data = nil
}

// release ends a use; passed says that its last byte was used.
func (f *frames) release(fr *frame, passed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fr.users--; fr.users > 0 {
		return
	}
	if passed {
		fr.place = f.idle.PushBack(fr)
	} else {
		fr.place = f.idle.PushFront(fr)
	}
	if f.held > f.budget {
		f.giveUp(f.idle.Back().Value.(*frame))
	}
	f.tell()
}

// drop gives up all frames of an archive, which nobody uses.
func (f *frames) drop(b *book) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, fr := range f.known {
		if key.book == b && fr.users == 0 {
			f.giveUp(fr)
		}
	}
	f.tell()
}
