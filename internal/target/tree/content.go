package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"capstan"
)

// chunkSize is how much content is in memory for each Place that is running.
// Smaller files are read whole before anything is created.
const chunkSize = 256 << 10

var errNoContent = errors.New("a file was given without content")

// contentFile is where content goes.
type contentFile interface {
	io.WriterAt
	// Truncate sets the size; what was never written within it is a hole.
	Truncate(size int64) error
}

// readError sets a failure of the reader apart from one of the target.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// fill reads until buf is full or the reader ends. done is true when it has ended.
func fill(r io.Reader, buf []byte) (n int, done bool, err error) {
	idle := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF { // never wrapped by io.Reader's contract: what wraps it is a failure
			return n, true, nil
		}
		if err != nil {
			return n, false, &readError{err}
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle > 100 {
			return n, false, &readError{io.ErrNoProgress}
		}
	}
	return n, false, nil
}

// buffers are of chunkSize each, kept for their next use: as many as calls of Place
// that need one were running at once.
type buffers struct {
	mu   sync.Mutex
	list []*[chunkSize]byte
}

func (b *buffers) get() *[chunkSize]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.list) - 1
	if last < 0 {
		return new([chunkSize]byte)
	}
	buf := b.list[last]
	b.list = b.list[:last]
	return buf
}

func (b *buffers) put(buf *[chunkSize]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, buf)
}

// layout puts stored bytes, which come one after another, at their places in
// the file.
type layout struct {
	now    capstan.Extent   // what is left of the current range
	ranges []capstan.Extent // the ones after it
	placed int64            // bytes so far
	total  int64            // stored size
	size   int64            // logical size
	tail   bool             // the file ends in a hole
}

// newLayout checks the entry's data ranges; whatever is wrong with them is damage.
func newLayout(e *capstan.Entry) (*layout, error) {
	if e.Size < 0 {
		return nil, fmt.Errorf("negative size: %w", capstan.ErrDamaged)
	}
	if !e.Sparse {
		return &layout{now: capstan.Extent{Length: e.Size}, total: e.Size, size: e.Size}, nil
	}
	l := &layout{ranges: e.Data, size: e.Size}
	end := int64(0)
	for _, x := range e.Data {
		if x.Offset < end || x.Offset > e.Size || x.Length < 0 || x.Length > e.Size-x.Offset {
			return nil, fmt.Errorf("data ranges out of order or beyond the size: %w", capstan.ErrDamaged)
		}
		end = x.Offset + x.Length
		l.total += x.Length
	}
	l.tail = end < e.Size
	return l, nil
}

// place writes the next stored bytes.
func (l *layout) place(w io.WriterAt, b []byte) error {
	if int64(len(b)) > l.total-l.placed {
		return &readError{fmt.Errorf("more content than the %d bytes that the entry has: %w", l.total, capstan.ErrDamaged)}
	}
	for len(b) > 0 {
		if l.now.Length == 0 {
			l.now, l.ranges = l.ranges[0], l.ranges[1:]
			continue
		}
		n := min(int64(len(b)), l.now.Length)
		if _, err := w.WriteAt(b[:n], l.now.Offset); err != nil {
			return err
		}
		b = b[n:]
		l.placed += n
		l.now.Offset += n
		l.now.Length -= n
	}
	return nil
}

// finish sets the size, once all content is placed.
func (l *layout) finish(w contentFile) error {
	if l.placed < l.total {
		return &readError{fmt.Errorf("the content ends after %d of %d bytes: %w", l.placed, l.total, capstan.ErrDamaged)}
	}
	if l.tail {
		return w.Truncate(l.size)
	}
	return nil
}

// copyRest writes the chunk of n bytes at the start of buf, then what is left
// in r unless done says that it has ended, and sets the size.
func (l *layout) copyRest(ctx context.Context, w contentFile, r io.Reader, buf []byte, n int, done bool) error {
	for {
		if err := l.place(w, buf[:n]); err != nil {
			return err
		}
		if done {
			return l.finish(w)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var err error
		if n, done, err = fill(r, buf); err != nil {
			return err
		}
	}
}

// copyDirect has r write all of itself, and sets the size.
func (l *layout) copyDirect(ctx context.Context, w contentFile, r io.WriterTo) error {
	to := &placer{ctx: ctx, layout: l, file: w}
	if _, err := r.WriteTo(to); err != nil {
		if to.err != nil {
			return to.err
		}
		return &readError{err}
	}
	return l.finish(w)
}

// placer puts what is written to it at its places in the file.
type placer struct {
	ctx    context.Context //nolint:containedctx // a writer's own life
	layout *layout
	file   contentFile
	err    error // of the file, not of the content
}

func (p *placer) Write(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		p.err = context.Cause(p.ctx)
	} else {
		p.err = p.layout.place(p.file, b)
	}
	if p.err != nil {
		return 0, p.err
	}
	return len(b), nil
}
