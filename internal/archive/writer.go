package archive

import (
	"context"
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
}

// write takes frames in order and hands what comes of them to the sink.
func (p *Packer) write() {
	w := &writer{Packer: p}
	for {
		f, ok := p.take(p.summed, &p.waitWrite, StagePack)
		if !ok {
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
	if !await(w.ctx, f.hashed) {
		return context.Cause(w.ctx)
	}
	for i := range f.fills {
		if r := &f.fills[i]; r.after == nil {
			f.complete(r)
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
	return w.seal(f.sum)
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
	}
	w.frames = append(w.frames, codec.Frame{Offset: w.sealed.Size, Size: int64(len(f.out)), Start: w.sealed.TarSize, Length: int64(len(f.in))})
	w.sealed.TarSize += int64(len(f.in))
	w.sealed.Entries += f.headers
	return w.bytes(f.out)
}

// bytes writes b to the archive.
func (w *writer) bytes(b []byte) error {
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

// seal ends the archive with its index. sum is that of the bytes before it.
func (w *writer) seal(sum *digest.Stream) error {
	done := w.step(StepCompressorClose)
	if index := codec.AppendIndex(nil, w.plan.codec, w.frames); len(index) > 0 {
		hashed := w.hasher.Add([]digest.Work{{Stream: sum, Data: index}})
		err := w.bytes(index)
		if err == nil && !await(w.ctx, hashed) {
			err = context.Cause(w.ctx)
		}
		if err != nil {
			done()
			return err
		}
	}
	done()
	w.sealed.Hash = sum.Sum()
	w.out = nil
	return w.sink.Sealed(w.ctx, w.sealed)
}

func (w *writer) step(step string) (done func()) {
	if w.hooks.Step == nil {
		return func() {}
	}
	return w.hooks.Step(step)
}
