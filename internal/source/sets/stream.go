package sets

import (
	"context"
	"fmt"
	"sort"

	"capstan"
)

// stream reads an archive's tar stream from an offset on, out of shared frames. One
// goroutine uses it at a time.
type stream struct {
	ctx     context.Context //nolint:containedctx // of the scan
	library *Library
	book    *book
	pos     int64
	frame   *frame // that holds pos; nil: not taken yet, or let go
	data    []byte // of it, from pos on
}

// Read implements io.Reader. Behind the end of what the archive holds, and where a
// frame does not decode, the error wraps capstan.ErrDamaged.
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

func (s *stream) fill() error {
	s.let()
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	index := s.book.frameAt(s.pos)
	all := s.book.Reader.Frames()
	if index == len(all) {
		return fmt.Errorf("the archive ends before offset %d: %w", s.pos, capstan.ErrDamaged)
	}
	fr, err := s.library.frames.get(s.ctx, s.book, index)
	if err != nil {
		return err
	}
	s.frame = fr
	if fr.err != nil {
		return fr.err
	}
	into := s.pos - all[index].Start
	if into < 0 || into >= int64(len(fr.data)) {
		return fmt.Errorf("there is no offset %d: %w", s.pos, capstan.ErrDamaged)
	}
	s.data = fr.data[into:]
	return nil
}

// seek goes to an offset that is not before the present one's frame.
func (s *stream) seek(to int64) {
	if n := to - s.pos; s.frame != nil && n >= 0 && n <= int64(len(s.data)) {
		s.data = s.data[n:]
	} else {
		s.let()
	}
	s.pos = to
}

// let lets the frame go; reading goes on where it was.
func (s *stream) let() {
	if s.frame != nil {
		s.library.frames.release(s.frame, len(s.data) == 0)
	}
	s.frame, s.data = nil, nil
}

// frameAt gives the index of the frame that holds an offset of the tar stream; the
// number of frames for one behind the end.
func (b *book) frameAt(offset int64) int {
	all := b.Reader.Frames()
	return sort.Search(len(all), func(i int) bool { return all[i].Start+all[i].Length > offset })
}
