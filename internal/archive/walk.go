package archive

import (
	"bytes"
	"context"
	"errors"
	"io"

	"capstan"
	"capstan/internal/tarfile"
)

// Walked is one entry, or one place where there should be one.
type Walked struct {
	// Entry is what the header says, with its place in Location (the archive's
	// number left out). A part has the part's name. Without Err only.
	Entry capstan.Entry
	// Header is the length of the headers before the content, in bytes.
	Header int64
	// Content gives the stored bytes; it fails where they are damaged, and is
	// valid until the visitor returns. Never nil.
	Content io.Reader
	// Err says what is wrong at Entry.Location.Offset, where a header should be.
	Err error
	// Doubtful entries come after a lost header: they may lie within the content
	// of a file whose header was lost, and lack what their own lost header said.
	Doubtful bool
}

// Walk visits every entry of the archive in order, reading all of it; frames are
// decoded ahead by workers within memory, as for Extract. What cannot be read is
// visited as an error, and Walk goes on at the next thing that looks like a
// header. It fails with the first error of visit or the cause of ctx only.
func (a *Reader) Walk(ctx context.Context, workers int, memory capstan.Bytes, visit func(w *Walked) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	plan := make([]planned, len(a.frames))
	for i := range plan {
		plan[i] = planned{frame: i, users: 1}
	}
	w := newWindow(ctx, a, plan, max(1, workers), memory)
	s := newStream(ctx, a, 0)
	s.window, s.last = w, len(plan)-1
	err := a.walk(ctx, s, visit)
	s.close()
	cancel(err)
	w.wait()
	return err
}

func (a *Reader) walk(ctx context.Context, s *stream, visit func(w *Walked) error) error {
	var parser tarfile.Parser
	doubtful := false
	for off := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.seek(off)
		h, err := parser.Next(s)
		if errors.Is(err, io.EOF) {
			return nil
		}
		found := &Walked{Doubtful: doubtful, Err: err, Content: failing{err}}
		var b *body
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			found.Entry.Location.Offset = off
			doubtful = true
			off = a.findHeader(ctx, s, off+1)
		} else {
			found.Entry, found.Header = h.Entry, h.Length
			found.Entry.Location.Offset = off
			b = newBody(s, h.Entry.Location.Size, capstan.Hash{})
			found.Content = b
			off += h.Length + b.left + tarfile.Padding(b.left)
		}
		err = visit(found)
		if b != nil {
			b.close()
		}
		if err != nil {
			return err
		}
		if off < 0 {
			return nil
		}
	}
}

// failing is content that cannot be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// findHeader looks for a header at or behind off; it gives -1 if there is none.
func (a *Reader) findHeader(ctx context.Context, s *stream, off int64) int64 {
	const chunk = 64 << 10
	b := make([]byte, 0, chunk+tarfile.Block)
	s.seek(off)
	for ctx.Err() == nil {
		n, err := s.Read(b[len(b):cap(b)])
		if err != nil {
			// Go on with the frame behind the one that cannot be read.
			i := a.frameAt(s.pos) + 1
			if i >= len(a.frames) {
				return -1
			}
			b = b[:0]
			s.seek(a.frames[i].Start)
			continue
		}
		b = b[:len(b)+n]
		at, rest := searchHeader(b)
		if at >= 0 {
			return s.pos - int64(len(b)) + int64(at)
		}
		b = b[:copy(b, b[rest:])]
	}
	return -1
}

// searchHeader gives the place of a header in b, or -1, and from where on b must
// be looked at again when more has been read.
func searchHeader(b []byte) (at, rest int) {
	for from := 0; ; {
		i := bytes.Index(b[min(len(b), from+tarfile.MagicOffset):], []byte(tarfile.Magic))
		if i < 0 {
			return -1, max(from, len(b)-tarfile.Block+1, 0)
		}
		start := from + i
		if start+tarfile.Block > len(b) {
			return -1, start
		}
		if tarfile.IsHeader(b[start : start+tarfile.Block]) {
			return start, 0
		}
		from = start + 1
	}
}
