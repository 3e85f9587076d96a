package codec

import (
	"bytes"
	"context"
	"errors"
	"io"

	"capstan"
)

// scanWindow is how much of a file a scanner holds.
const scanWindow = 256 << 10

// piece is what a scanner found at an offset.
type piece struct {
	end    int64 // where the next one starts
	length int64 // uncompressed; -1 if unknown
	skip   bool  // no content: index or another skippable thing
}

// scanner knows the framing of one codec.
type scanner interface {
	// at takes the piece at off. A damaged one is an error that wraps
	// capstan.ErrDamaged, and its length is then what its header still says.
	at(off int64) (piece, error)
	// mark is what every frame starts with.
	mark() []byte
	// window gives the file from off on, as peeker does.
	window(off int64, n int) ([]byte, error)
}

// scan lists the frames from offset 0 to size.
func scan(ctx context.Context, s scanner, size int64) ([]Frame, error) {
	var frames []Frame
	for off := int64(0); off < size; {
		p, err := s.at(off)
		broken := errors.Is(err, capstan.ErrDamaged)
		if err != nil && !broken {
			return nil, err
		}
		if broken {
			if p.end, err = findFrame(ctx, s, off+1, size); err != nil {
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// What nothing is known of at the end of the file is a damaged index.
		if !p.skip && p.length != 0 && (p.length > 0 || p.end < size) {
			frames = append(frames, Frame{Offset: off, Size: p.end - off, Length: p.length, Damaged: broken})
		}
		off = p.end
	}
	place(frames)
	return frames, nil
}

// place sets where the content of frames starts. Where a length is not known it
// is taken to be that of a full frame.
func place(frames []Frame) {
	full := int64(0)
	for _, f := range frames {
		full = max(full, f.Length)
	}
	if full == 0 {
		full = VirtualFrame
	}
	var start int64
	for i := range frames {
		f := &frames[i]
		if f.Length < 0 {
			f.Length = full
		}
		f.Start = start
		start += f.Length
	}
}

// findFrame gives the offset of the first whole frame at or after off, or size.
func findFrame(ctx context.Context, s scanner, off, size int64) (int64, error) {
	mark := s.mark()
	for off < size {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		b, err := s.window(off, scanWindow)
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, mark)
		if i < 0 {
			// The mark may begin in the last bytes of the window.
			off += int64(max(len(b)-len(mark)+1, 1))
			continue
		}
		off += int64(i)
		p, err := s.at(off)
		if err == nil && p.length >= 0 {
			return off, nil
		}
		if err != nil && !errors.Is(err, capstan.ErrDamaged) {
			return 0, err
		}
		off++
	}
	return size, nil
}

// fileWindow is a peeker over a file that keeps what it read last.
type fileWindow struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	off  int64
}

func (w *fileWindow) peek(off int64, n int) ([]byte, error) {
	if off < 0 || off >= w.size {
		return nil, nil
	}
	n = int(min(int64(n), w.size-off))
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		if w.buf == nil {
			w.buf = make([]byte, scanWindow)
		}
		w.buf = w.buf[:min(scanWindow, w.size-off)]
		w.off = off
		if err := readAt(w.r, w.buf, off); err != nil {
			w.buf = w.buf[:0]
			return nil, err
		}
	}
	return w.buf[off-w.off:][:n], nil
}

// zstdScanner walks block headers.
type zstdScanner struct{ file fileWindow }

func newZstdScanner(r io.ReaderAt, size int64) *zstdScanner {
	return &zstdScanner{file: fileWindow{r: r, size: size}}
}

func (s *zstdScanner) mark() []byte { return []byte{0x28, 0xB5, 0x2F, 0xFD} }

func (s *zstdScanner) window(off int64, n int) ([]byte, error) { return s.file.peek(off, n) }

func (s *zstdScanner) at(off int64) (piece, error) {
	h, end, err := walkZstdFrame(s.file.peek, off)
	p := piece{end: end, length: -1, skip: h.skippable}
	if h.skippable || h.size == 0 {
		return p, err
	}
	if h.content > MaxFrame || h.content < 0 {
		return p, errors.Join(err, damaged("zstd frame at %d is not one of ours", off))
	}
	p.length = h.content
	return p, err
}
