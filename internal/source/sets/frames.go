package sets

import (
	"container/list"
	"context"
	"sync"

	"capstan/internal/archive"
)

// frames are decoded frames of several archives. Who needs one gets it; it is decoded
// once, however many wait for it, and kept for later as far as memory goes: first
// those go that were passed, then those that were used longest ago.
type frames struct {
	budget int64

	mu    sync.Mutex
	held  int64
	known map[frameKey]*frame
	idle  *list.List // of *frame without users, the one to keep longest at the front
	spare [][]byte   // of frames that were given up
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

func newFrames(budget int64) *frames {
	return &frames{budget: budget, known: map[frameKey]*frame{}, idle: list.New()}
}

const (
	// maxSpare bounds the buffers that are kept for the next frames.
	maxSpare = 2
	// leastBuffer is the least that a buffer takes, the size of most frames: so they
	// are of one size, and each serves again.
	leastBuffer = archive.DefaultFrame
)

// get gives a frame, which stays as it is until release. Its error is that of ctx alone:
// what reading met is in the frame.
func (f *frames) get(ctx context.Context, b *book, index int) (*frame, error) {
	key := frameKey{b, index}
	f.mu.Lock()
	fr := f.known[key]
	mine := fr == nil
	var buffer []byte
	if mine {
		fr = &frame{frameKey: key, ready: make(chan struct{}), size: max(b.Reader.Frames()[index].Length, leastBuffer)}
		f.known[key] = fr
		f.held += fr.size
		buffer = f.makeRoom(fr.size)
	}
	fr.users++
	if fr.place != nil {
		f.idle.Remove(fr.place)
		fr.place = nil
	}
	f.mu.Unlock()
	if mine {
		fr.data, fr.err = b.Reader.ReadFrame(buffer[:0], index)
		close(fr.ready)
		return fr, nil
	}
	select {
	case <-fr.ready:
		return fr, nil
	case <-ctx.Done():
		f.release(fr, false)
		return nil, context.Cause(ctx)
	}
}

// makeRoom gives up idle frames until what is held fits into the budget, or none is
// left, and gives a buffer.
func (f *frames) makeRoom(size int64) (buffer []byte) {
	for f.held > f.budget && f.idle.Len() > 0 {
		f.giveUp(f.idle.Back().Value.(*frame))
	}
	if n := len(f.spare); n > 0 {
		buffer, f.spare = f.spare[n-1], f.spare[:n-1]
	}
	if int64(cap(buffer)) < size {
		buffer = make([]byte, 0, size)
	}
	return buffer
}

func (f *frames) giveUp(fr *frame) {
	f.idle.Remove(fr.place)
	fr.place = nil
	delete(f.known, fr.frameKey)
	f.held -= fr.size
	if len(f.spare) < maxSpare && fr.data != nil {
		f.spare = append(f.spare, fr.data)
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
}
