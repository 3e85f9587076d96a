package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"capstan"
)

const (
	defaultQueue    = 256 * capstan.KiB
	defaultPatience = time.Second
	// pieceSize is how much is written at once, so that what was shown and what was
	// dropped is known to within a few lines.
	pieceSize = 4 << 10
	// lineCost is what a queued line costs beside its bytes.
	lineCost = 64
)

// ErrStuck reports that a stream did not take what was to be said before the end.
var ErrStuck = errors.New("output is not being read")

// LossyOptions configure a Lossy; the zero value is usable.
type LossyOptions struct {
	Queue    capstan.Bytes // bound of the queue; 0 means 256 KiB
	Patience time.Duration // of Close; 0 means one second
	// Size gives columns and rows of the terminal behind the writer; nil if there is
	// none. Paint does nothing without it.
	Size func() (columns, rows int)
}

// Lossy writes lines to a writer from a goroutine of its own. It is safe for
// concurrent use. It must be closed.
type Lossy struct {
	w        io.Writer
	limit    int
	patience time.Duration
	size     func() (columns, rows int)
	wake     chan struct{} // holds one token when there may be something to do
	done     chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex
	queue    []item
	held     int    // cost of the queued lines
	partial  []byte // begin of a line whose end has not come
	skipping bool   // the rest of the present line is dropped
	dropped  int64  // messages lost so far
	unsaid   int64  // of these, not yet told
	flying   piece  // the write that is under way
	failing  bool   // the last write failed
	torn     bool   // it ended within a line
	err      error  // of the last write that failed
	closing  bool   // end once the queue is empty
	left     bool   // end at once
	screen   screen
}

// item is a line, or a delivery.
type item struct {
	text []byte
	must *delivery
	note int64 // the line says that so many were dropped
}

// delivery is lossless text; its caller waits for result.
type delivery struct{ result chan error }

// NewLossy starts the goroutine that writes to w. w may be slow, closed, broken, or
// block for ever.
func NewLossy(w io.Writer, o LossyOptions) *Lossy {
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	l := &Lossy{
		w: w, limit: int(o.Queue), patience: o.Patience, size: o.Size,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go l.run()
	return l
}

// Write takes the lines in p, keeps the begin of an unfinished one for the next
// call, and never blocks or fails: lines that do not fit are dropped and counted.
func (l *Lossy) Write(p []byte) (int, error) {
	l.mu.Lock()
	for rest := p; len(rest) > 0; {
		line, tail, whole := bytes.Cut(rest, []byte{'\n'})
		rest = tail
		l.take(line, whole)
	}
	l.mu.Unlock()
	l.signal()
	return len(p), nil
}

// take adds a piece of a line; l.mu is held.
func (l *Lossy) take(piece []byte, whole bool) {
	if !l.skipping && l.held+len(l.partial)+len(piece)+lineCost > l.limit {
		l.skipping = true
		l.partial = nil
	}
	if !l.skipping {
		l.partial = append(l.partial, piece...)
	}
	if !whole {
		return
	}
	if l.skipping || l.closing {
		l.skipping, l.partial = false, nil
		l.lose(1)
		return
	}
	l.say()
	line := append(l.partial, '\n')
	l.partial = nil
	l.queue = append(l.queue, item{text: line})
	l.held += len(line) + lineCost
}

// lose counts messages that nobody will see; l.mu is held.
func (l *Lossy) lose(n int64) {
	l.dropped += n
	l.unsaid += n
}

// say queues the word about what was dropped; l.mu is held.
func (l *Lossy) say() {
	if l.unsaid == 0 {
		return
	}
	words := "messages"
	if l.unsaid == 1 {
		words = "message"
	}
	text := fmt.Appendf(nil, "... %s %s dropped\n", Count(l.unsaid), words)
	l.queue = append(l.queue, item{text: text, note: l.unsaid})
	l.held += len(text) + lineCost
	l.unsaid = 0
}

// Deliver writes p losslessly after all that is queued. It blocks until p is
// written, the write fails, or ctx ends. An empty p waits for what is queued. After
// an error p must not be changed any more: a write of it may still be under way.
func (l *Lossy) Deliver(ctx context.Context, p []byte) error {
	d := &delivery{result: make(chan error, 1)}
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return io.ErrClosedPipe
	}
	l.say()
	l.queue = append(l.queue, item{text: p, must: d})
	l.mu.Unlock()
	l.signal()
	select {
	case err := <-d.result:
		return err
	case <-ctx.Done():
	}
	l.mu.Lock()
	for i, x := range l.queue {
		if x.must == d {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			break
		}
	}
	l.mu.Unlock()
	select {
	case err := <-d.result: // it was written at the last moment
		return err
	default:
		return context.Cause(ctx)
	}
}

// Dropped is the number of messages that were lost so far.
func (l *Lossy) Dropped() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close lets the queue drain and ends the goroutine. It waits for a stuck writer no
// longer than the patience and then leaves the goroutine behind, which ends with
// its write and writes nothing more. It returns ErrStuck in that case, else the
// last error of a write: something for the log, no reason for a command to fail.
// The writer itself stays open.
func (l *Lossy) Close() error { return l.closeWithin(l.patience) }

func (l *Lossy) closeWithin(patience time.Duration) error {
	l.mu.Lock()
	if !l.closing {
		if len(l.partial) > 0 {
			l.take(nil, true)
		}
		l.screen.want(nil)
		if !l.failing {
			l.say()
		}
		l.closing = true
	}
	left := l.left
	l.mu.Unlock()
	l.signal()
	if left {
		return ErrStuck
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return l.err
	default:
	}
	l.abandon()
	return ErrStuck
}

// abandon gives up on a stuck writer; l.mu is held.
func (l *Lossy) abandon() {
	if l.left {
		return
	}
	l.left = true
	l.finish(l.flying.items, func(int) bool { return false }, ErrStuck)
	l.finish(l.queue, func(int) bool { return false }, ErrStuck)
	l.queue, l.held, l.flying = nil, 0, piece{}
}

// finish tells what became of items that left the queue; l.mu is held. Each item
// comes here once.
func (l *Lossy) finish(items []item, written func(i int) bool, err error) {
	for i, x := range items {
		ok := written(i)
		switch {
		case x.must != nil && ok:
			x.must.result <- nil // has room for the one result that is ever sent
		case x.must != nil:
			x.must.result <- err
		case ok:
		case x.note > 0:
			l.unsaid += x.note
		default:
			l.lose(1)
		}
	}
}

// signal wakes the goroutine.
func (l *Lossy) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
