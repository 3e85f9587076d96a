package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"capstan"
	"capstan/internal/codec"
)

// Reader reads an archive from any place in it. Its methods may be called from
// several goroutines. It holds no resources besides memory; the file below it is
// the caller's to close, after all reading has ended.
type Reader struct {
	file   io.ReaderAt
	size   int64
	codec  capstan.Codec
	frames []codec.Frame
	damage error

	scratch *Scratch
}

// OpenReader reads the index at the end of an archive of size bytes. Where the
// index is damaged it finds the frames by a scan of the whole file, which takes
// as long as r takes to give it, and Damage then says what was wrong. An error
// that wraps capstan.ErrDamaged means that no frame was found; others are r's.
func OpenReader(r io.ReaderAt, size int64, c capstan.Codec) (*Reader, error) {
	a := &Reader{file: r, size: size, codec: c, scratch: &Scratch{}}
	if _, err := codec.NewDecoder(c); err != nil {
		return nil, err
	}
	var err error
	a.frames, err = codec.ReadIndex(r, size, c)
	if !errors.Is(err, capstan.ErrDamaged) {
		return a, err
	}
	a.damage = err
	if a.frames, err = codec.ScanFrames(context.Background(), r, size, c); err != nil {
		return nil, err
	}
	if len(a.frames) == 0 {
		return nil, fmt.Errorf("the archive has no readable part: %w", a.damage)
	}
	return a, nil
}

// Damage is nil, or says why the index could not be used and frames were found
// by a scan.
func (a *Reader) Damage() error { return a.damage }

// Frames lists the frames in order. The slice is the reader's own.
func (a *Reader) Frames() []codec.Frame { return a.frames }

// TarSize is the length of the tar stream, as far as frames were found.
func (a *Reader) TarSize() int64 {
	if len(a.frames) == 0 {
		return 0
	}
	last := a.frames[len(a.frames)-1]
	return last.Start + last.Length
}

// ReadFrame appends the content of the i-th frame to dst. An error wraps
// capstan.ErrDamaged where the frame is not what was written, else it is the file's.
func (a *Reader) ReadFrame(dst []byte, i int) ([]byte, error) {
	if i < 0 || i >= len(a.frames) {
		return dst, fmt.Errorf("there is no frame %d: %w", i, capstan.ErrDamaged)
	}
	f := a.frames[i]
	if f.Damaged {
		return dst, fmt.Errorf("frame at %d: %w", f.Offset, capstan.ErrDamaged)
	}
	if a.codec == capstan.CodecNone {
		start := len(dst)
		dst = slices.Grow(dst, int(f.Length))[:start+int(f.Length)]
		return dst, a.readAt(dst[start:], f.Offset)
	}
	d, err := a.scratch.decoder(a.codec)
	if err != nil {
		return dst, err
	}
	defer a.scratch.decoders.put(d)
	if cap(d.in) < int(f.Size) {
		d.in = make([]byte, f.Size)
	}
	d.in = d.in[:f.Size]
	if err := a.readAt(d.in, f.Offset); err != nil {
		return dst, err
	}
	out, err := d.Decode(dst, d.in, int(f.Length))
	if err != nil {
		return dst, fmt.Errorf("frame at %d: %w", f.Offset, err)
	}
	return out, nil
}

// readAt fills b from the file; a file that ends before is damaged.
func (a *Reader) readAt(b []byte, off int64) error {
	n, err := a.file.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("the file ends at %d: %w", off+int64(n), capstan.ErrDamaged)
	}
	return fmt.Errorf("frame at %d: %w", off, err)
}

// frameAt gives the index of the frame that holds an offset of the tar stream;
// it is len(a.frames) for offsets behind the end.
func (a *Reader) frameAt(off int64) int {
	return sort.Search(len(a.frames), func(i int) bool { return a.frames[i].Start+a.frames[i].Length > off })
}

// buffer gives a buffer with room for any frame.
func (a *Reader) buffer() *[]byte { return a.scratch.buffer(a.largest()) }

// largest is the length of the longest frame.
func (a *Reader) largest() int {
	var most int64
	for i := range a.frames {
		most = max(most, a.frames[i].Length)
	}
	return int(most)
}
