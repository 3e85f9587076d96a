package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/digest"
)

// writer is the state of the one goroutine that writes archives.
type writer struct {
	*Packer
	numbers []capstan.ArchiveNumber // by ordinal, from 1
	out     io.Writer
	sealed  capstan.Archive // of the archive being written, as far as it is
	frames  []codec.Frame

	sum *digest.Stream
}

// write takes frames in order and hands what comes of them to the sink.
func (p *Packer) write() {
	w := &writer{Packer: p, sum: digest.NewStream()}
	for {
		f, ok := p.take(p.order, &p.waitWrite, StagePack)
		if !ok || !w.packed(f) {
			return
		}
		if err := w.frame(f); err != nil {
			p.cancel(err)
			return
		}
		f.reset()
		select {
		case p.free <- f:
		case <-p.ctx.Done():
			return
		}
	}
}

// packed waits until a worker is done with f.
func (w *writer) packed(f *frame) bool {
	select {
	case <-f.ready:
		return true
	default:
	}
	w.waitWrite.enter(StagePack)
	defer w.waitWrite.leave()
	return await(w.ctx, f.ready)
}

// frame writes one frame and delivers its entries.
func (w *writer) frame(f *frame) error {
	if f.archive > 0 {
		done := func() {}
		if f.last && f.archive <= len(w.numbers) { // of a single frame, begin and end are one
			done = w.step(StepTarClose)
		}
		err := w.body(f)
		done()
		if err != nil {
			return err
		}
	}
	if len(f.entries) > 0 {
		w.locate(f.entries)
		if err := w.sink.Entries(w.ctx, f.entries); err != nil {
			return err
		}
		f.entries = nil // the sink's by now
	}
	if !f.last {
		return nil
	}
	return w.seal()
}

// body writes the bytes of a frame, and begins its archive if it is the first.
func (w *writer) body(f *frame) error {
	if f.archive > len(w.numbers) {
		number, out, err := w.sink.Begin(w.ctx)
		if err != nil {
			return err
		}
		if number < 1 {
			return fmt.Errorf("archive number %d", number)
		}
		w.numbers = append(w.numbers, number)
		w.out, w.frames = out, w.frames[:0]
		w.sealed = capstan.Archive{Number: number, Codec: w.plan.codec}
		w.sum.Reset()
	}
	w.frames = append(w.frames, codec.Frame{Offset: w.sealed.Size, Size: int64(len(f.out)), Start: w.sealed.TarSize, Length: int64(len(f.in))})
	w.sealed.TarSize += int64(len(f.in))
	w.sealed.Entries += f.headers
	return w.bytes(f.out)
}

// bytes writes b to the archive and sums it meanwhile.
func (w *writer) bytes(b []byte) error {
	work := &digest.Work{Stream: w.sum, Data: b, Done: make(chan struct{})}
	if !w.hasher.Add(w.ctx, work) {
		return context.Cause(w.ctx)
	}
	w.waitWrite.enter(OnVolume)
	n, err := w.out.Write(b)
	w.waitWrite.leave()
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	w.sealed.Size += int64(n)
	if w.hooks.Wrote != nil && n > 0 {
		w.hooks.Wrote(int64(n))
	}
	if !await(w.ctx, work.Done) {
		err = errors.Join(err, context.Cause(w.ctx))
	}
	if err != nil {
		return fmt.Errorf("write archive %d: %w", w.sealed.Number, err)
	}
	return nil
}

// locate turns ordinals into the numbers that the sink gave.
func (w *writer) locate(entries []capstan.Entry) {
	for i := range entries {
		e := &entries[i]
		if e.Location.Archive > 0 {
			e.Location.Archive = w.numbers[e.Location.Archive-1]
		}
		for j := range e.Parts {
			e.Parts[j].Archive = w.numbers[e.Parts[j].Archive-1]
		}
	}
}

// seal ends the archive with its index.
func (w *writer) seal() error {
	done := w.step(StepCompressorClose)
	if index := codec.AppendIndex(nil, w.plan.codec, w.frames); len(index) > 0 {
		if err := w.bytes(index); err != nil {
			done()
			return err
		}
	}
	done()
	w.sealed.Hash = w.sum.Sum()
	w.out = nil
	return w.sink.Sealed(w.ctx, w.sealed)
}

func (w *writer) step(step string) (done func()) {
	if w.hooks.Step == nil {
		return func() {}
	}
	return w.hooks.Step(step)
}
