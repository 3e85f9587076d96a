package files

import (
	"context"

	"capstan"
)

// A batch ends with whichever it reaches first.
const (
	batchItems    = 256
	batchContents = 64
	batchData     = 1 << 20
	// batchReady is how many items make a batch worth emitting while the next ones
	// are still being read.
	batchReady = 64
)

// emitter turns chunks into batches. It runs in the goroutine of Scan.
type emitter struct {
	run     *run
	emit    func(context.Context, capstan.Batch) error
	rescuer *reader

	items    []capstan.Item
	blocks   []*block
	data     int
	contents int
}

// emitAll returns when the walker has ended and everything is emitted, or with
// the first error; nothing that it took is then left open.
func (e *emitter) emitAll(ctx context.Context) error {
	for {
		c, err := e.next(ctx)
		if err == nil && c == nil {
			return e.flush(ctx)
		}
		if err == nil {
			err = e.addAll(ctx, c)
		}
		if err != nil {
			for i := range e.items {
				if content := e.items[i].Content; content != nil {
					_ = content.Close() // it was only read
				}
			}
			return err
		}
		e.run.budget.release(c.cost)
	}
}

func (e *emitter) addAll(ctx context.Context, c *chunk) error {
	for i := range c.items {
		if err := e.add(ctx, &c.items[i]); err != nil {
			c.drop(i)
			return err
		}
	}
	return nil
}

// next gives the next chunk once its items were read, and nil after the last.
func (e *emitter) next(ctx context.Context) (*chunk, error) {
	c, ok, err := await(ctx, e, e.run.chunks)
	if err == nil && !ok && ctx.Err() != nil { // the walker gave up
		err = context.Cause(ctx)
	}
	if err != nil || !ok {
		return nil, err
	}
	return c, e.finished(ctx, c)
}

// finished waits until a chunk was read, and lets go of it otherwise.
func (e *emitter) finished(ctx context.Context, c *chunk) error {
	_, _, err := await(ctx, e, c.done)
	if err == nil && ctx.Err() != nil { // its items may have been left unread
		err = context.Cause(ctx)
	}
	if err != nil && c.abandon() {
		c.drop(0)
	}
	return err
}

// await receives from ch. Before it blocks it emits a batch that is worth it.
func await[T any](ctx context.Context, e *emitter, ch <-chan T) (value T, ok bool, err error) {
	select {
	case value, ok = <-ch:
		return value, ok, nil
	default:
	}
	if len(e.items) >= batchReady {
		if err := e.flush(ctx); err != nil {
			return value, false, err
		}
	}
	if hook := e.run.opt.Hooks.Waiting; hook != nil {
		hook(true)
		defer hook(false)
	}
	select {
	case value, ok = <-ch:
		return value, ok, nil
	case <-ctx.Done():
		return value, false, context.Cause(ctx)
	}
}

// add settles one item and makes it part of the batch.
func (e *emitter) add(ctx context.Context, it *item) error {
	if err := e.settle(ctx, it); err != nil {
		return err
	}
	if e.data > 0 && e.data+len(it.out.Data) > batchData {
		if err := e.flush(ctx); err != nil {
			return err
		}
	}
	if e.items == nil {
		e.items = make([]capstan.Item, 0, batchItems)
	}
	it.out.Entry.Host = it.host
	e.items = append(e.items, it.out)
	e.data += len(it.out.Data)
	if it.block != nil {
		e.blocks = append(e.blocks, it.block)
	}
	if it.out.Content != nil {
		e.contents++
	}
	it.out, it.block = capstan.Item{}, nil
	if len(e.items) == batchItems || e.contents == batchContents {
		return e.flush(ctx)
	}
	return nil
}

// flush emits the batch, if there is one.
func (e *emitter) flush(ctx context.Context) error {
	if len(e.items) == 0 {
		return nil
	}
	blocks := e.blocks
	batch := capstan.Batch{Items: e.items, Release: func() {
		for _, b := range blocks {
			b.release()
		}
	}}
	e.items, e.blocks, e.data, e.contents = nil, nil, 0, 0
	return e.emit(ctx, batch)
}

// settle decides what a name of a linked file is emitted as.
func (e *emitter) settle(ctx context.Context, it *item) error {
	for it.linked() {
		switch as, first := e.run.links.decide(it); as {
		case asUnchanged:
			it.keep()
		case asLink:
			it.link(first)
		case asContent:
			if !it.unread {
				return nil
			}
			if err := e.rescue(ctx, it); err != nil {
				return err
			}
		}
	}
	return nil
}

// rescue reads the content of an item that was left to an earlier name, which
// then could not hold it.
func (e *emitter) rescue(ctx context.Context, it *item) error {
	r := e.run
	id := inode{it.out.Entry.Dev, it.out.Entry.Ino}
	c := newChunk()
	c.items = append(c.items, *it)
	one := &c.items[0]
	one.force = true
	r.wg.Go(func() {
		if !c.take() {
			return
		}
		defer e.rescuer.filler.drop()
		e.rescuer.station.at(one.host)
		dir, _ := capstan.SplitPath(r.below(one.out.Entry.Path))
		folder, err := r.root.descend(dir)
		if err != nil {
			one.failed("open", err)
		}
		one.folder = folder
		e.rescuer.process(ctx, c)
	})
	if err := e.finished(ctx, c); err != nil {
		return err
	}
	r.budget.release(c.cost)
	*it = *one
	if found := (inode{it.out.Entry.Dev, it.out.Entry.Ino}); found != id {
		it.drop()
		it.outcome(capstan.OutcomeVanished, errReplaced.Error())
	}
	return nil
}
