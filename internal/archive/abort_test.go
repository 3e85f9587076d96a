package archive

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"capstan"
)

// abortThings has contents that span several frames and small ones.
func abortThings() []thing {
	var things []thing
	for i := range 12 {
		things = append(things, file(fmt.Sprintf("f%d", i), text(uint64(i), 10_000+i*9_000), i%3 != 0))
	}
	return things
}

// A failing sink ends the packer with its error, whatever it fails at, and every
// content is closed once.
func TestSinkFails(t *testing.T) {
	t.Parallel()
	things := abortThings()
	for _, failAt := range []string{"begin", "write", "entries", "sealed"} {
		for failures := range 6 {
			for _, workers := range []int{1, 3} {
				l, sink := &ledger{}, &memorySink{t: t, failAt: failAt, failures: failures}
				o := Options{Codec: capstan.CodecZstd, Workers: workers, FrameSize: 8 << 10, ArchiveSize: 100 << 10}
				p := NewPacker(t.Context(), o, sink)
				var err error
				for i := range things {
					if err = p.Add(t.Context(), things[i].item(l)); err != nil {
						break
					}
				}
				if err == nil {
					err = p.Close(t.Context())
				} else {
					p.Abort(err)
				}
				if !errors.Is(err, errSink) {
					t.Errorf("failing at %s after %d, %d workers: %v", failAt, failures, workers, err)
				}
				l.check(t)
			}
		}
	}
}

// Aborting after any number of items, with work in progress, closes everything.
func TestAbortAnytime(t *testing.T) {
	t.Parallel()
	things := abortThings()
	why := errors.New("stopped")
	for after := range len(things) + 1 {
		for _, way := range []string{"abort", "close", "context"} {
			l, sink := &ledger{}, &memorySink{t: t}
			ctx, cancel := context.WithCancelCause(t.Context())
			p := NewPacker(ctx, Options{Codec: capstan.CodecGzip, Workers: 2, FrameSize: 8 << 10, ArchiveSize: 100 << 10}, sink)
			for i := range after {
				if err := p.Add(t.Context(), things[i].item(l)); err != nil {
					t.Fatal(err)
				}
			}
			switch way {
			case "abort":
				p.Abort(why)
				p.Abort(nil)
			case "close":
				cause, stop := context.WithCancelCause(t.Context())
				stop(why)
				if err := p.Close(cause); err != nil && !errors.Is(err, why) {
					t.Errorf("Close gives %v", err)
				}
			case "context":
				cancel(why)
				err := p.Add(t.Context(), things[0].item(l))
				if !errors.Is(err, why) {
					t.Errorf("Add gives %v", err)
				}
				if err := p.Close(t.Context()); !errors.Is(err, why) {
					t.Errorf("Close gives %v", err)
				}
			}
			if err := p.Add(t.Context(), things[1].item(l)); err == nil {
				t.Errorf("%s: Add works after the end", way)
			}
			l.check(t)
			cancel(nil)
		}
	}
}

// Add waits while the volume does not take anything, and ends with its context.
func TestBlockedVolume(t *testing.T) {
	t.Parallel()
	why := errors.New("enough waiting")
	for _, whose := range []string{"packer", "add"} {
		waiting := make(chan struct{}, 100)
		hooks := Hooks{Wait: func(stage, _ string) func() {
			if stage == StageLayout {
				waiting <- struct{}{}
			}
			return func() {}
		}}
		l, sink := &ledger{}, &memorySink{t: t, block: make(chan struct{})}
		packerCtx, cancelPacker := context.WithCancelCause(t.Context())
		addCtx, cancelAdd := context.WithCancelCause(t.Context())
		p := NewPacker(packerCtx, Options{Codec: capstan.CodecNone, Workers: 2, FrameSize: 4 << 10, Hooks: hooks}, sink)
		done := make(chan error)
		go func() {
			things := abortThings()
			var err error
			for i := 0; err == nil; i++ {
				err = p.Add(addCtx, things[i%len(things)].item(l))
			}
			done <- err
		}()
		<-waiting
		if whose == "add" {
			cancelAdd(why)
		} else {
			cancelPacker(why)
		}
		err := <-done
		if !errors.Is(err, why) {
			t.Errorf("%s: Add gives %v", whose, err)
		}
		p.Abort(err)
		l.check(t)
		cancelAdd(nil)
		cancelPacker(nil)
	}
}

// Abort waits for a Read in progress and closes its content after it.
func TestAbortWaitsForReads(t *testing.T) {
	t.Parallel()
	l, sink := &ledger{}, &memorySink{t: t}
	reading := make(chan struct{}, 10)
	hooks := Hooks{Wait: func(stage, on string) func() {
		if stage == StagePack && on == OnSource {
			reading <- struct{}{}
		}
		return func() {}
	}}
	p := NewPacker(t.Context(), Options{Codec: capstan.CodecZstd, Workers: 1, FrameSize: 8 << 10, Hooks: hooks}, sink)
	f := file("f", text(1, 100_000), true)
	c := l.content(f.data)
	release := make(chan struct{})
	c.block = release
	added := make(chan error)
	go func() { added <- p.Add(t.Context(), &capstan.Item{Entry: f.entry, Content: c}) }()
	<-reading
	why := errors.New("stopped")
	p.cancel(why)
	if err := <-added; err != nil && !errors.Is(err, why) {
		t.Errorf("Add gives %v", err)
	}
	aborted := make(chan struct{})
	go func() { p.Abort(why); close(aborted) }()
	close(release)
	<-aborted
	l.check(t)
}

// Cancelling while everything is in motion: no deadlock, nothing left open.
func TestCancelInMotion(t *testing.T) {
	t.Parallel()
	things := abortThings()
	why := errors.New("stopped")
	for after := range 60 {
		l, sink := &ledger{}, &memorySink{t: t}
		ctx, cancel := context.WithCancelCause(t.Context())
		frames := 0
		hooks := Hooks{Wrote: func(int64) {
			if frames++; frames == after {
				cancel(why)
			}
		}}
		p := NewPacker(ctx, Options{Codec: capstan.CodecNone, Workers: 3, FrameSize: 8 << 10, ArchiveSize: 100 << 10, Hooks: hooks}, sink)
		var err error
		for i := range things {
			if err = p.Add(ctx, things[i].item(l)); err != nil {
				break
			}
		}
		if closeErr := p.Close(ctx); err == nil {
			err = closeErr
		}
		if err != nil && !errors.Is(err, why) {
			t.Errorf("after %d: %v", after, err)
		}
		l.check(t)
		cancel(nil)
	}
}
