package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"capstan"
)

// partsReader reads an entry's stored content through all archives that hold a
// part of it. It ends with io.EOF only if size and hash are as recorded.
type partsReader struct {
	ctx    context.Context //nolint:containedctx // a reader's own life
	reader *setReader
	entry  *capstan.Entry
	parts  []capstan.Part // not opened yet
	body   io.ReadCloser  // of the part being read
	sum    hash.Hash
	n      int64
	err    error
}

func (p *partsReader) Read(buf []byte) (int, error) {
	if p.sum == nil {
		p.sum = sha256.New()
	}
	for p.err == nil {
		if err := context.Cause(p.ctx); err != nil {
			p.err = err
			break
		}
		if p.body == nil {
			p.err = p.next()
			continue
		}
		n, err := p.body.Read(buf)
		p.sum.Write(buf[:n])
		p.n += int64(n)
		if errors.Is(err, io.EOF) {
			err = p.body.Close()
			p.body = nil
		}
		p.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, p.err
}

// next opens the next part, or ends the content.
func (p *partsReader) next() error {
	if len(p.parts) == 0 {
		if p.n != p.entry.StoredSize() || [32]byte(p.sum.Sum(nil)) != p.entry.Hash && p.n > 0 {
			return fmt.Errorf("%s: content does not match its recorded hash: %w", p.entry.Path, capstan.ErrDamaged)
		}
		return io.EOF
	}
	part := p.parts[0]
	p.parts = p.parts[1:]
	if part.Size == 0 {
		return nil
	}
	a, err := p.reader.archive(p.ctx, part.Archive)
	if err != nil {
		return err
	}
	p.body, err = a.Open(p.ctx, part.Location)
	return err
}

// Close ends the reading early or late.
func (p *partsReader) Close() error {
	if p.body == nil {
		return nil
	}
	err := p.body.Close()
	p.body = nil
	return err
}
