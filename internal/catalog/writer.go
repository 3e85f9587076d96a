package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"capstan"
)

// EntryWriter records the entries of one set. It collects them in memory, at
// most two batches of 50,000 rows or 6 MiB, and writes each batch in one
// transaction from a goroutine of its own, so that the data path waits only when
// the disk cannot follow.
//
// All methods but Close may be called from several goroutines. The first failure
// is sticky: every later call returns it. The writer's context bounds its writes;
// when it ends, what was not yet written is dropped.
type EntryWriter struct {
	c   *Catalog
	set capstan.SetID
	ctx context.Context //nolint:containedctx // scopes the writer's goroutine

	filling chan *batch   // holds the batch being filled; whoever takes it out adds to it
	empty   chan *batch   // the other one, unless the goroutine has it
	work    chan task     // to the goroutine
	closed  chan struct{} // closed when Close begins
	failed  chan struct{} // closed by the first failure
	done    chan struct{} // closed when the goroutine has ended

	failing sync.Once
	err     error // why failed was closed
	closing sync.Once
	closeIt error

	placer placer // of the goroutine
}

// task is a batch to be written, and what else belongs to the transaction.
type task struct {
	batch *batch
	then  func(*tx) error // may be nil
	reply chan<- error    // buffered; may be nil
}

var errWriterClosed = errors.New("the entry writer is closed")

// NewEntryWriter starts a writer for a set, which must not have one already in
// this process. Any failure, also that the set is unknown, shows in the first
// call that writes. The caller must Close it.
func (c *Catalog) NewEntryWriter(ctx context.Context, set capstan.SetID) *EntryWriter {
	return c.startWriter(ctx, set, phaseThere)
}

func (c *Catalog) startWriter(ctx context.Context, set capstan.SetID, phase int64) *EntryWriter {
	w := &EntryWriter{
		c: c, set: set, ctx: ctx,
		filling: make(chan *batch, 1), empty: make(chan *batch, 1), work: make(chan task),
		closed: make(chan struct{}), failed: make(chan struct{}), done: make(chan struct{}),
		placer: newPlacer(set, phase),
	}
	w.filling <- newBatch()
	w.empty <- newBatch()
	c.mu.Lock()
	_, taken := c.writers[set]
	if !taken {
		c.writers[set] = w
	}
	c.mu.Unlock()
	switch {
	case taken:
		_ = w.fail(fmt.Errorf("set %s has an entry writer already", set))
	case c.readOnly:
		_ = w.fail(c.refuseWrite())
	}
	go w.run() //nolint:contextcheck // it lives as long as the writer, in the writer's context
	return w
}

// Add takes entries over; the slice and what it refers to may be reused
// afterwards. It blocks while both batches are full. An entry whose path was
// added before replaces that one. An entry that names an archive needs that
// archive to be planned, and stays invisible until it is committed; a split one
// belongs to the archive of its last part.
func (w *EntryWriter) Add(ctx context.Context, entries []capstan.Entry) error {
	for len(entries) > 0 {
		b, err := w.take(ctx)
		if err != nil {
			return err
		}
		if b.full() {
			if b, err = w.hand(ctx, task{batch: b}); err != nil {
				w.filling <- b
				return err
			}
		}
		n, err := b.fill(entries)
		w.filling <- b
		if err != nil {
			return w.fail(err)
		}
		entries = entries[n:]
	}
	return nil
}

// Flush returns when everything that was added before the call is in the
// catalog, or with the first failure. When ctx ends first, it may still happen.
func (w *EntryWriter) Flush(ctx context.Context) error { return w.finish(ctx, nil) }

// finish writes what was added and runs then in the same transaction.
func (w *EntryWriter) finish(ctx context.Context, then func(*tx) error) error {
	b, err := w.take(ctx)
	if err != nil {
		return err
	}
	reply := make(chan error, 1)
	b, err = w.hand(ctx, task{batch: b, then: then, reply: reply})
	w.filling <- b
	if err != nil {
		return err
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close writes what was added and ends the writer; it gives the first failure.
// After the end of the writer's context it only ends the writer, and gives the
// cause if anything was left. A second Close gives the same.
func (w *EntryWriter) Close() error {
	w.closing.Do(func() {
		close(w.closed)
		b := <-w.filling // kept: nobody adds any more
		if len(b.rows) > 0 {
			reply := make(chan error, 1)
			w.work <- task{batch: b, reply: reply}
			<-w.empty // makes room for this one
			w.closeIt = <-reply
		}
		close(w.work)
		<-w.done
		select {
		case <-w.failed:
			w.closeIt = w.err
		default:
		}
		w.c.mu.Lock()
		if w.c.writers[w.set] == w {
			delete(w.c.writers, w.set)
		}
		w.c.mu.Unlock()
	})
	return w.closeIt
}

// Plain reports, after Close, that every entry that was added is one entry of the
// set, and that the set has no others. It may be false though that is so.
func (w *EntryWriter) Plain() bool {
	<-w.done
	return w.placer.no != 0 && !w.placer.careful
}

// ended waits until a writer that is being closed has written what it had, and
// gives its failure.
func (w *EntryWriter) ended(ctx context.Context) error {
	select {
	case <-w.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-w.failed:
		return w.err
	default:
		return nil
	}
}

// fail notes the first failure and gives it.
func (w *EntryWriter) fail(err error) error {
	w.failing.Do(func() {
		w.err = err
		close(w.failed)
	})
	return w.err
}

// take gets the batch that is being filled. It must be put back.
func (w *EntryWriter) take(ctx context.Context) (*batch, error) {
	select {
	case <-w.failed:
		return nil, w.err
	case <-w.closed:
		return nil, errWriterClosed
	default:
	}
	select {
	case b := <-w.filling:
		return b, nil
	default:
	}
	defer w.c.wait("catalog")()
	select {
	case b := <-w.filling:
		return b, nil
	case <-w.failed:
		return nil, w.err
	case <-w.closed:
		return nil, errWriterClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// hand gives a task to the goroutine and returns an empty batch, or the same one
// with an error.
func (w *EntryWriter) hand(ctx context.Context, t task) (*batch, error) {
	select {
	case w.work <- t:
		return <-w.empty, nil
	default:
	}
	defer w.c.wait("catalog")()
	select {
	case w.work <- t:
		// The goroutine gave the other batch back before it took this one.
		return <-w.empty, nil
	case <-w.failed:
		return t.batch, w.err
	case <-ctx.Done():
		return t.batch, context.Cause(ctx)
	}
}

// yieldTime is the pause after a full batch in which another process that polls
// for the write lock can get it.
const yieldTime = 2 * time.Millisecond

func (w *EntryWriter) run() {
	defer close(w.done)
	for t := range w.work {
		err := w.do(t)
		busy := t.batch.full()
		t.batch.reset()
		w.empty <- t.batch
		if t.reply != nil {
			t.reply <- err
		}
		if busy && err == nil {
			w.pause()
		}
	}
}

func (w *EntryWriter) pause() {
	timer := time.NewTimer(yieldTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ctx.Done():
	}
}

// do writes one task.
func (w *EntryWriter) do(t task) error {
	select {
	case <-w.failed:
		return w.err
	default:
	}
	if len(t.batch.rows) == 0 && t.then == nil {
		return nil
	}
	run := func(tx *tx) error {
		if err := w.placer.place(tx, t.batch); err != nil {
			return err
		}
		if t.then != nil {
			return t.then(tx)
		}
		return nil
	}
	err := w.c.transact(w.ctx, run)
	if isDuplicate(err) && w.placer.becomeCareful() {
		err = w.c.transact(w.ctx, run)
	}
	if err != nil {
		return w.fail(w.c.failed(w.ctx, "record entries of set "+string(w.set), err))
	}
	w.placer.committed()
	return nil
}
