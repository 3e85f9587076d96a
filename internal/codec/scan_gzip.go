package codec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// gzipScanner inflates members, since nothing else tells where they end.
type gzipScanner struct {
	file    fileWindow
	in      *bufio.Reader
	inflate io.Reader
}

func newGzipScanner(r io.ReaderAt, size int64) *gzipScanner {
	s := &gzipScanner{file: fileWindow{r: r, size: size}, in: bufio.NewReaderSize(nil, scanWindow)}
	s.inflate = flate.NewReader(s.in)
	return s
}

func (s *gzipScanner) mark() []byte { return []byte(plainHeader) }

func (s *gzipScanner) window(off int64, n int) ([]byte, error) { return s.file.peek(off, n) }

func (s *gzipScanner) at(off int64) (piece, error) {
	p := piece{end: off, length: -1}
	head, err := s.file.peek(off, indexBefore)
	switch {
	case err != nil:
		return p, err
	case len(head) >= len(plainHeader) && string(head[:len(plainHeader)]) == plainHeader:
		return s.member(off)
	case len(head) == indexBefore && string(head[:len(indexHeader)]) == indexHeader:
		extra := int64(binary.LittleEndian.Uint16(head[len(indexHeader):]))
		p.end, p.skip = off+memberHeader+2+extra+int64(len(indexEnd)), true
		end, err := s.file.peek(p.end-int64(len(indexEnd)), len(indexEnd))
		if err == nil && string(end) != indexEnd {
			err = damaged("the index member at %d has no end", off)
		}
		return p, err
	}
	return p, damaged("no gzip member of ours starts at %d", off)
}

// member inflates the member at off to find its end and its length. It leaves
// the checksum to whoever decodes it.
func (s *gzipScanner) member(off int64) (piece, error) {
	p := piece{end: off, length: -1}
	from := off + memberHeader
	file := &countingReader{r: io.NewSectionReader(s.file.r, from, s.file.size-from)}
	s.in.Reset(file)
	resetter, ok := s.inflate.(flate.Resetter)
	if !ok {
		return p, errors.New("the inflater cannot be reset")
	}
	if err := resetter.Reset(s.in, nil); err != nil {
		return p, err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(s.inflate, MaxFrame+1))
	if file.err != nil {
		return p, file.err
	}
	if err != nil || n > MaxFrame {
		return p, damaged("gzip member at %d does not inflate", off)
	}
	p.end = from + file.n - int64(s.in.Buffered()) + memberTrailer
	if p.end > s.file.size {
		return p, damaged("gzip member at %d is cut off", off)
	}
	p.length = n
	return p, nil
}

// countingReader counts what was read and keeps the error that ended it, which
// an inflater would mix with damage.
type countingReader struct {
	r   io.Reader
	n   int64
	err error
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
