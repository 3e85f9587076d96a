package archive

import (
	"context"
	"sync"

	"capstan"
)

// window decodes frames ahead of those who need them, in order, a bounded number
// at a time. A frame is held from its decoding until everyone who needs it has
// let go; a frame that nobody needs any more is not decoded.
//
// It does not deadlock if the needs ascend: whoever needs several frames takes
// them in order, lets go of one before it takes the next, and of two users the
// later one needs no frame before the last one of the earlier. Then the frame that
// is decoded next is always one that nobody has to wait behind.
type window struct {
	reader *Reader
	ctx    context.Context //nolint:containedctx // scoped to one extraction
	group  sync.WaitGroup

	plan []planned
	room chan struct{} // one token for every frame held
	next chan int      // indexes in plan, for the workers

	mu sync.Mutex // guards users and buffer of every planned frame
}

// planned is a frame that somebody needs.
type planned struct {
	frame  int
	users  int
	ready  chan struct{}
	buffer *[]byte
	data   []byte // valid after ready, until the last user lets go
	err    error
}

// slots is how many frames of the reader fit into memory, for some workers.
func (a *Reader) slots(workers int, memory capstan.Bytes) int {
	most := 2*workers + 1
	if memory <= 0 || len(a.frames) == 0 {
		return most
	}
	var packed int64
	for i := range a.frames {
		packed = max(packed, a.frames[i].Size)
	}
	// Each worker holds a compressed frame, every slot a decoded one.
	slots := (int64(memory) - int64(workers)*packed) / int64(a.largest())
	return int(max(2, min(slots, int64(most))))
}

// newWindow starts to decode the planned frames; wait must be called in the end,
// after ctx has ended or all users have let go of everything.
func newWindow(ctx context.Context, reader *Reader, plan []planned, workers int, memory capstan.Bytes) *window {
	w := &window{
		reader: reader, ctx: ctx, plan: plan,
		room: make(chan struct{}, reader.slots(workers, memory)), next: make(chan int),
	}
	for i := range plan {
		plan[i].ready = make(chan struct{})
	}
	w.group.Go(w.dispatch)
	for range workers {
		w.group.Go(w.decode)
	}
	return w
}

func (w *window) wait() { w.group.Wait() }

// dispatch gives frames to the workers as room allows.
func (w *window) dispatch() {
	defer close(w.next)
	for i := range w.plan {
		select {
		case w.room <- struct{}{}:
		case <-w.ctx.Done():
			return
		}
		if !w.needed(i) {
			<-w.room
			continue
		}
		select {
		case w.next <- i:
		case <-w.ctx.Done():
			return
		}
	}
}

// needed reports whether anyone still needs a frame.
func (w *window) needed(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plan[i].users > 0
}

func (w *window) decode() {
	for i := range w.next {
		p := &w.plan[i]
		b := w.reader.buffer()
		data, err := w.reader.ReadFrame((*b)[:0], p.frame)
		w.decoded(p, b, data, err)
	}
}

func (w *window) decoded(p *planned, b *[]byte, data []byte, err error) {
	w.mu.Lock()
	p.buffer, p.data, p.err = b, data, err
	unused := w.unused(p)
	w.mu.Unlock()
	close(p.ready)
	w.free(unused)
}

// unused takes a decoded frame's buffer away when its last user has let go; w.mu
// is held. The result is for free.
func (w *window) unused(p *planned) *[]byte {
	if p.users > 0 {
		return nil
	}
	b := p.buffer
	p.buffer, p.data = nil, nil
	return b
}

// free gives a buffer back, and the token of the frame that was in it.
func (w *window) free(b *[]byte) {
	if b == nil {
		return
	}
	w.reader.scratch.buffers.put(b)
	<-w.room // never blocks: the token is there
}

// get waits for the i-th planned frame; the caller must be a user of it.
func (w *window) get(ctx context.Context, i int) ([]byte, error) {
	p := &w.plan[i]
	select {
	case <-p.ready:
		return p.data, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// release lets go of the i-th planned frame.
func (w *window) release(i int) {
	w.mu.Lock()
	p := &w.plan[i]
	p.users--
	unused := w.unused(p)
	w.mu.Unlock()
	w.free(unused)
}
