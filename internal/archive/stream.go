package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"capstan"
)

// stream reads the tar stream from an offset on. Frames that were planned for it
// come from the window, others it decodes itself.
type stream struct {
	ctx    context.Context //nolint:containedctx // a reader's own life
	reader *Reader
	pos    int64 // of the next byte
	data   []byte
	own    *[]byte // for frames that were not planned

	window *window // nil: nothing is planned
	next   int     // first planned frame not taken yet
	last   int     // last planned frame; below next when there are none left
	held   int     // planned frame that data lies in, or -1
}

func newStream(ctx context.Context, a *Reader, off int64) *stream {
	return &stream{ctx: ctx, reader: a, pos: off, last: -1, held: -1}
}

// Read gives the cause of ctx, an error that wraps capstan.ErrDamaged (also
// behind the end of the stream), or an error of the file.
func (s *stream) Read(p []byte) (int, error) {
	b, err := s.chunk(int64(len(p)))
	return copy(p, b), err
}

// chunk gives the next bytes of the stream, as many as lie in one frame and most
// at the most; they are valid until the next call.
func (s *stream) chunk(most int64) ([]byte, error) {
	if most <= 0 {
		return nil, nil
	}
	if len(s.data) == 0 {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	b := s.data[:min(most, int64(len(s.data)))]
	s.data = s.data[len(b):]
	s.pos += int64(len(b))
	return b, nil
}

// seek goes to another offset, without decoding what lies between. Going back
// behind the present frame decodes one a second time.
func (s *stream) seek(to int64) {
	n := to - s.pos
	s.pos = to
	if n >= 0 && n <= int64(len(s.data)) {
		s.data = s.data[n:]
		return
	}
	s.data = nil
}

// fill makes data begin at pos.
func (s *stream) fill() error {
	s.drop()
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	i := s.reader.frameAt(s.pos)
	if i == len(s.reader.frames) {
		return fmt.Errorf("the archive ends before offset %d: %w", s.pos, capstan.ErrDamaged)
	}
	for s.next <= s.last && s.window.plan[s.next].frame < i {
		s.window.release(s.next) // skipped
		s.next++
	}
	data, err := s.frame(i)
	if err != nil {
		return err
	}
	into := s.pos - s.reader.frames[i].Start
	if into < 0 || into >= int64(len(data)) {
		return fmt.Errorf("there is no offset %d: %w", s.pos, capstan.ErrDamaged)
	}
	s.data = data[into:]
	return nil
}

func (s *stream) frame(i int) ([]byte, error) {
	if s.next <= s.last && s.window.plan[s.next].frame == i {
		s.held = s.next
		s.next++
		return s.window.get(s.ctx, s.held)
	}
	if s.own == nil {
		s.own = s.reader.buffer()
	}
	return s.reader.ReadFrame((*s.own)[:0], i)
}

// drop lets go of the frame that data lies in.
func (s *stream) drop() {
	s.data = nil
	if s.held >= 0 {
		s.window.release(s.held)
		s.held = -1
	}
}

// close lets go of everything.
func (s *stream) close() {
	s.drop()
	for ; s.next <= s.last; s.next++ {
		s.window.release(s.next)
	}
	if s.own != nil {
		s.reader.scratch.buffers.put(s.own)
		s.own = nil
	}
}

// body reads an entry's stored content and checks it at its end.
type body struct {
	stream *stream
	left   int64
	want   capstan.Hash // zero: not known
	sum    hash.Hash
	err    error
}

func newBody(s *stream, size int64, want capstan.Hash) *body {
	b := &body{stream: s, left: size, want: want}
	if !want.IsZero() && size > 0 {
		b.sum = sha256.New()
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	chunk, err := b.chunk(int64(len(p)))
	return copy(p, chunk), err
}

// WriteTo writes what is left to w, straight out of the frames.
func (b *body) WriteTo(w io.Writer) (n int64, err error) {
	for {
		chunk, err := b.chunk(writeChunk)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(chunk)
		n += int64(m)
		if err == nil && m < len(chunk) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
}

// writeChunk keeps a cancellation from waiting for the writing of a whole frame, and
// what was just hashed in the processor's cache until it is written.
const writeChunk = 256 << 10

// chunk gives the next bytes, and at their end what check says of them.
func (b *body) chunk(most int64) ([]byte, error) {
	if b.err == nil && b.left == 0 {
		b.err = b.check()
	}
	if b.err != nil {
		return nil, b.err
	}
	chunk, err := b.stream.chunk(min(most, b.left))
	b.left -= int64(len(chunk))
	if b.sum != nil {
		b.sum.Write(chunk)
	}
	b.err = err
	return chunk, err
}

// check gives io.EOF where the content is what was stored.
func (b *body) check() error {
	if b.sum != nil && capstan.Hash(b.sum.Sum(nil)) != b.want {
		return fmt.Errorf("the content's SHA-256 is not the recorded one: %w", capstan.ErrDamaged)
	}
	return io.EOF
}

// errEnded is what a body says after its owner was done with it.
var errEnded = errors.New("the entry was read outside of its time")

func (b *body) close() { b.err = errEnded }
