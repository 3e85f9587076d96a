package archive

import (
	"context"
	"fmt"
	"io"

	"capstan"
	"capstan/internal/tarfile"
)

// Open reads the stored content of one entry; it decodes only the frames that
// hold it, as the caller reads. The content ends with io.EOF only after
// loc.Size bytes; a header that gives another size is an error that wraps
// capstan.ErrDamaged. ctx must live as long as the content is read. Close
// gives back a frame's memory.
func (a *Reader) Open(ctx context.Context, loc capstan.Location) (io.ReadCloser, error) {
	h, content, err := a.OpenHeader(ctx, loc)
	if err != nil {
		return nil, err
	}
	if h.Entry.Location.Size != loc.Size {
		_ = content.Close() // it holds memory only
		return nil, fmt.Errorf("the header at %d of archive %d says %d bytes instead of %d: %w",
			loc.Offset, loc.Archive, h.Entry.Location.Size, loc.Size, capstan.ErrDamaged)
	}
	return content, nil
}

// OpenHeader is Open for whoever wants the header too and does not know the
// size: loc.Size is not looked at.
func (a *Reader) OpenHeader(ctx context.Context, loc capstan.Location) (*tarfile.Header, io.ReadCloser, error) {
	s := newStream(ctx, a, loc.Offset)
	var parser tarfile.Parser
	h, err := parser.Next(s)
	if err != nil {
		s.close()
		return nil, nil, headerError(&capstan.Entry{Location: loc}, err)
	}
	h.Entry.Location.Offset, h.Entry.Location.Archive = loc.Offset, loc.Archive
	return h, &opened{body: newBody(s, h.Entry.Location.Size, capstan.Hash{})}, nil
}

// opened is the content of a single entry.
type opened struct{ *body }

// Close gives the memory back; reading fails afterwards.
func (o *opened) Close() error {
	o.stream.close()
	o.close()
	return nil
}
