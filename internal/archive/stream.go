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
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.data) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	s.pos += int64(n)
	return n, nil
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
		s.reader.buffers.Put(s.own)
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
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		b.err = b.check()
		return 0, b.err
	}
	n, err := b.stream.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	b.err = err
	return n, err
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
