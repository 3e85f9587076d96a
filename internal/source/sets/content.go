package sets

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/tarfile"
)

// content reads the stored content of an entry through all archives that hold a part of
// it, and compares it with its hash at the end. It implements capstan.Content.
type content struct {
	ctx     context.Context //nolint:containedctx // of the scan
	library *Library
	set     capstan.SetID
	entry   capstan.Entry  // whose content it is
	size    int64          // of all parts
	parts   []capstan.Part // not begun yet
	parser  tarfile.Parser

	stream stream // of the part that is read
	left   int64  // of that part
	sum    hash.Hash
	n      int64
	err    error
}

func newContent(ctx context.Context, library *Library, e *Held) *content {
	parts := e.Parts
	if len(parts) == 0 {
		parts = []capstan.Part{{Location: e.Location}}
	}
	return &content{
		ctx: ctx, library: library, set: e.Set, entry: e.Entry, size: e.StoredSize(), parts: parts, sum: sha256.New(),
	}
}

// Read gives the stored bytes. It ends with io.EOF only if size and hash are those that
// were recorded.
func (c *content) Read(p []byte) (n int, err error) {
	if len(p) == 0 || c.err != nil {
		return 0, c.err
	}
	for n == 0 && c.err == nil {
		if c.left == 0 {
			c.err = c.next()
			continue
		}
		n, c.err = c.stream.Read(p[:min(int64(len(p)), c.left)])
		c.left -= int64(n)
		c.n += int64(n)
		c.sum.Write(p[:n])
	}
	c.stream.let()
	if n > 0 && c.n == c.size { // who knows the size does not ask for more
		c.err = c.check()
	}
	if c.err != nil && !errors.Is(c.err, io.EOF) {
		c.err = fmt.Errorf("set %s: %w", c.set, c.err)
		return n, c.err
	}
	if n > 0 {
		return n, nil
	}
	return 0, c.err
}

// check gives io.EOF for a content that is as it was recorded.
func (c *content) check() error {
	if c.n != c.size || capstan.Hash(c.sum.Sum(nil)) != c.entry.Hash && c.size > 0 {
		return errNotRecorded
	}
	return io.EOF
}

var errNotRecorded = fmt.Errorf("its content is not what was recorded: %w", capstan.ErrDamaged)

// next begins the next part, or ends the content.
func (c *content) next() error {
	c.leave()
	if len(c.parts) == 0 {
		return c.check()
	}
	part := c.parts[0]
	c.parts = c.parts[1:]
	book, err := c.library.borrow(c.ctx, place{c.set, part.Archive})
	if err != nil {
		return err
	}
	c.stream = stream{ctx: c.ctx, library: c.library, book: book, pos: part.Offset}
	c.left = part.Size
	if len(c.entry.Parts) == 0 {
		return passHeader(&c.parser, &c.stream, &c.entry)
	}
	header, err := c.parser.Next(&c.stream)
	if err == nil && header.Entry.Location.Size != part.Size {
		err = fmt.Errorf("its header says %d bytes instead of %d: %w", header.Entry.Location.Size, part.Size, capstan.ErrDamaged)
	}
	return notEnded(err)
}

// passHeader reads the header of an entry, which must be the one that is found.
func passHeader(parser *tarfile.Parser, s *stream, e *capstan.Entry) error {
	header, err := parser.Next(s)
	if err != nil {
		return notEnded(err)
	}
	return archive.Match(e, &header.Entry)
}

// notEnded makes the end of an archive, where a header should be, damage.
func notEnded(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the archive ends where its header should be: %w", capstan.ErrDamaged)
	}
	return err
}

// leave ends the part that was read.
func (c *content) leave() {
	if c.stream.book == nil {
		return
	}
	c.stream.let()
	c.library.giveBack(c.stream.book)
	c.stream = stream{}
}

// Drift implements capstan.Content: what a set holds does not change.
func (c *content) Drift() string { return "" }

// Close gives back what the content holds.
func (c *content) Close() error {
	c.leave()
	if c.err == nil {
		c.err = errClosed
	}
	return nil
}

var errClosed = errors.New("the content is closed")
