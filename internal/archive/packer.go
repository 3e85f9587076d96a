package archive

import (
	"context"
	"errors"
	"sync"
	"time"

	"capstan/internal/codec"
	"capstan/internal/digest"
)

// errClosed reports an Add after Close or Abort.
var errClosed = errors.New("the packer is closed")

// Packer packs items into archives; see the package comment. Add, Close and
// Abort belong to one goroutine; the context given to NewPacker may end at any time.
type Packer struct {
	plan  plan
	sink  Sink
	hooks Hooks

	ctx     context.Context //nolint:containedctx // the life of the goroutines
	cancel  context.CancelCauseFunc
	group   sync.WaitGroup // workers
	writing sync.WaitGroup // the goroutine that calls the sink, and the one before it
	hashing sync.WaitGroup // those that hash; they end with ctx
	hasher  *digest.Hasher
	ended   bool // Close or Abort was called

	layout layout
	made   int         // frames that exist
	free   chan *frame // written, ready for use
	work   chan *frame // laid out, for the workers, in order
	order  chan *frame // the same frames, to be hashed
	summed chan *frame // the same, for the writer, while they are hashed

	waitLayout, waitPack, waitWrite waits

	mu       sync.Mutex
	contents map[*content]struct{} // not closed yet
}

// NewPacker starts a packer; Close or Abort must end it. Options that make no
// sense make the first Add or Close fail.
func NewPacker(ctx context.Context, options Options, sink Sink) *Packer {
	p := &Packer{sink: sink, hooks: options.Hooks, contents: map[*content]struct{}{}, hasher: digest.NewHasher()}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	var err error
	if p.plan, err = options.plan(); err != nil {
		p.cancel(err)
		return p
	}
	encoders := make([]*codec.Encoder, p.plan.workers+1)
	for i := range encoders {
		if encoders[i], err = codec.NewEncoder(p.plan.codec, p.plan.level); err != nil {
			p.cancel(err)
			return p
		}
	}
	p.layout.trial = encoders[p.plan.workers]
	p.free = make(chan *frame, p.plan.slots)
	p.work = make(chan *frame, p.plan.slots)
	p.order = make(chan *frame, p.plan.slots)
	p.summed = make(chan *frame, p.plan.slots)
	p.waitLayout = waits{hook: options.Hooks.Wait, stage: StageLayout, workers: 1}
	p.waitPack = waits{hook: options.Hooks.Wait, stage: StagePack, workers: p.plan.workers}
	p.waitWrite = waits{hook: options.Hooks.Wait, stage: StageWrite, workers: 1}
	for range (p.plan.workers + hashEvery - 1) / hashEvery {
		p.hashing.Go(func() { p.hasher.Run(p.ctx) })
	}
	for _, enc := range encoders[:p.plan.workers] {
		p.group.Go(func() { p.pack(enc) })
	}
	p.writing.Go(p.sum)
	p.writing.Go(p.write)
	return p
}

// hashEvery is how many workers one goroutine hashes for: two lanes are five times
// as fast as a worker compresses, and the archive is hashed besides.
const hashEvery = 3

// Close lays out the end of the last archive, waits until all is written and
// delivered, and ends the packer; when it returns nil, every Sealed has returned
// nil. When ctx ends before, it aborts and returns the cause.
func (p *Packer) Close(ctx context.Context) error {
	if p.ended {
		return errClosed
	}
	err := p.cause()
	if err == nil {
		err = p.finish(ctx)
	}
	if err != nil {
		p.Abort(err)
		return err
	}
	p.ended = true
	close(p.work)
	close(p.order)
	stop := context.AfterFunc(ctx, func() { p.cancel(context.Cause(ctx)) })
	p.join()
	stop()
	err = p.cause()
	p.cancel(errClosed)
	p.hashing.Wait()
	return err
}

// grace is how long an ended packer waits for workers that hang in a Content.
const grace = 2 * time.Second

// join waits for all goroutines and closes the contents. A Read that hangs (a dead
// network filesystem) does not hold an ended packer: after the grace its worker is
// left behind, which touches nothing but its own frame, and closes the contents
// when the Read returns. The goroutine that calls the sink is always waited for.
func (p *Packer) join() {
	done := make(chan struct{})
	go func() {
		p.group.Wait()
		p.closeContents()
		close(done)
	}()
	select {
	case <-done:
	case <-p.ctx.Done():
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		}
	}
	p.writing.Wait()
	p.waitPack.close()
}

// Abort ends the packer at once, with err as the cause that its goroutines see:
// it waits for them, for those that hang in a Content at most two seconds, and
// closes all contents. The archive being written stays
// unsealed. It is safe after Close and Abort, and then does nothing.
func (p *Packer) Abort(err error) {
	if err == nil {
		err = errClosed
	}
	p.cancel(err)
	if p.ended {
		return
	}
	p.ended = true
	p.join()
	p.hashing.Wait()
}

// fail ends the packer with its first error and gives that.
func (p *Packer) fail(err error) error {
	p.cancel(err)
	return p.cause()
}

// cause is why the packer ended, nil while it lives.
func (p *Packer) cause() error { return context.Cause(p.ctx) }

// closeContents closes what no worker did; the goroutines have ended.
func (p *Packer) closeContents() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.contents {
		if !c.closed {
			c.closed = true
			_ = c.source.Close() // reading was given up; there is nothing to lose
		}
	}
	clear(p.contents)
}

func (p *Packer) hold(c *content) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.contents[c] = struct{}{}
}

func (p *Packer) drop(c *content) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.contents, c)
}

// pack is a worker: it fills and compresses frames until there are no more.
func (p *Packer) pack(enc *codec.Encoder) {
	// The stage has nothing more to do then, while what it packed is written.
	defer p.waitPack.enter(StageWrite)
	for {
		f, ok := p.take(p.work, &p.waitPack, StageLayout)
		if !ok {
			return
		}
		for i := range f.fills {
			r := &f.fills[i]
			if !r.run(p.ctx, f, &p.waitPack) {
				return
			}
			if r.after == nil {
				p.drop(r.content)
			}
		}
		f.encode(enc, p.plan.codec)
		if p.hooks.Packed != nil {
			p.hooks.Packed(int64(len(f.in)))
		}
		select {
		case f.ready <- struct{}{}:
		case <-p.ctx.Done():
			return
		}
	}
}

// take gets the next frame; ok is false when there is none or the packer ends.
func (p *Packer) take(from <-chan *frame, w *waits, on string) (f *frame, ok bool) {
	select {
	case f, ok = <-from:
		return f, ok && p.ctx.Err() == nil
	default:
	}
	w.enter(on)
	defer w.leave()
	select {
	case f, ok = <-from:
		return f, ok && p.ctx.Err() == nil
	case <-p.ctx.Done():
		return nil, false
	}
}
