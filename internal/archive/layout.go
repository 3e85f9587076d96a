package archive

import (
	"context"
	"crypto/sha256"
	"fmt"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/tarfile"
)

const (
	// worthCutting is the size from which content that does not compress gets
	// frames of its own, stored as they are; see plan.cutting.
	worthCutting = 1 << 20
	// peekSize is how much of such a content tells whether it compresses.
	peekSize = 64 << 10
	// tailCutting is the least that is left in a frame cut for that reason.
	tailCutting = 256 << 10
	// largeHeader is a capacity for headers that is not kept.
	largeHeader = 1 << 20
)

// layout is the state of Add: where in the tar stream the next byte goes.
type layout struct {
	frame   *frame // being filled; nil when the last one was handed over
	archive int    // ordinal of the archive being filled
	open    bool   // it has bytes and no end yet
	split   bool   // it holds the end of a file that was split
	pos     int64  // bytes of its tar stream
	scratch []byte // headers
	entries int    // how many the last frame had
	trial   *codec.Encoder
	stems   map[string]struct{} // of the names of parts, for every file split so far
}

// Add packs one item, whose entry must be one to store. It takes the item over
// in every case and closes its content, now or later; Data is not used after it
// returns. An entry that cannot be stored (a name that no tar archive can hold, or
// that is that of a part of a file split before) is delivered as failed, with the
// reason, and is no error. An error ends the packer: the sink's, the cause of a context, or
// one about an item that contradicts itself.
func (p *Packer) Add(ctx context.Context, item *capstan.Item) error {
	err := p.cause()
	if p.ended {
		err = errClosed
	}
	if err == nil {
		err = checkItem(item)
	}
	if err != nil {
		if item.Content != nil {
			_ = item.Content.Close() // the error that is returned says more
		}
		if p.ended {
			return err
		}
		return p.fail(err)
	}
	e := item.Entry
	if e.Outcome == 0 {
		e.Outcome = capstan.OutcomeStored
	}
	e.Location, e.Parts = capstan.Location{}, nil
	if err := p.add(ctx, item, &e); err != nil {
		return p.fail(err)
	}
	return nil
}

// Flush hands over what was added so far, though it does not fill a frame: contents
// that it holds are read and closed without waiting for the next Add. Errors are those
// of Add.
func (p *Packer) Flush(ctx context.Context) error {
	if p.ended {
		return errClosed
	}
	if err := p.cause(); err != nil {
		return err
	}
	if p.layout.frame == nil || len(p.layout.frame.fills) == 0 {
		return nil
	}
	if err := p.submit(ctx); err != nil {
		return p.fail(err)
	}
	return nil
}

// checkItem finds contradictions, which are mistakes of the source's author.
func checkItem(item *capstan.Item) error {
	e := &item.Entry
	stored := e.StoredSize()
	switch {
	case e.Outcome != 0 && e.Outcome != capstan.OutcomeStored && e.Outcome != capstan.OutcomeChanged:
		return fmt.Errorf("%q is to be packed, but is %s", e.Path, e.Outcome)
	case item.Content != nil && !e.HasContent():
		return fmt.Errorf("%q is a %s with content", e.Path, e.Kind)
	case item.Content == nil && int64(len(item.Data)) != stored:
		return fmt.Errorf("%q comes with %d bytes, its entry says %d", e.Path, len(item.Data), stored)
	case item.Content != nil && item.Data != nil:
		return fmt.Errorf("%q comes with data and content", e.Path)
	}
	return nil
}

func (p *Packer) add(ctx context.Context, item *capstan.Item, e *capstan.Entry) error {
	l := &p.layout
	stored := e.StoredSize()
	var c *content
	if item.Content != nil {
		c = &content{source: item.Content, size: stored}
		p.hold(c)
	}
	if stem, _, part := tarfile.ParsePartName(e.Path); part && l.isSplit(stem) {
		return p.refuse(ctx, c, e, "its name is that of a part of a file beside it that is larger than an archive; rename it")
	}
	var err error
	if l.scratch, err = tarfile.AppendHeader(l.scratch[:0], e, e.Path, stored); err != nil {
		return p.refuse(ctx, c, e, err.Error())
	}
	header := l.scratch
	if cap(header) > largeHeader {
		l.scratch = nil // used once
	}
	total := int64(len(header)) + stored + tarfile.Padding(stored)
	most := p.plan.archive - tarfile.EndSize
	if total > most && c != nil && !item.Unsplit && int64(len(header)) < most/2 {
		if why := p.splitting(e, int64(len(header))); why != "" {
			return p.refuse(ctx, c, e, why)
		}
		return p.split(ctx, c, e)
	}
	if l.open && l.pos+total > most {
		if err := p.endArchive(ctx); err != nil {
			return err
		}
	}
	if err := p.begin(ctx, e, header); err != nil {
		return err
	}
	switch {
	case c != nil:
		c.entry = *e
		_, err = p.reserve(ctx, c, stored, nil, true)
	default:
		if e.HasContent() && stored > 0 && e.Hash.IsZero() {
			e.Hash = sha256.Sum256(item.Data)
		}
		if err = p.append(ctx, item.Data); err == nil {
			l.frame.entries = append(l.frame.entries, *e)
		}
	}
	if err == nil {
		err = p.pad(ctx, stored)
	}
	return err
}

// refuse delivers an entry that is not stored.
func (p *Packer) refuse(ctx context.Context, c *content, e *capstan.Entry, why string) error {
	if c != nil {
		c.closed = true
		_ = c.source.Close() // unread
		p.drop(c)
	}
	e.Outcome, e.Reason, e.Hash = capstan.OutcomeFailed, why, capstan.Hash{}
	if err := p.room(ctx); err != nil {
		return err
	}
	p.layout.frame.entries = append(p.layout.frame.entries, *e)
	return nil
}

// begin writes a header and notes where it is.
func (p *Packer) begin(ctx context.Context, e *capstan.Entry, header []byte) error {
	l := &p.layout
	if !l.open {
		l.open, l.split, l.pos = true, false, 0
		l.archive++
	}
	e.Location = capstan.Location{Archive: capstan.ArchiveNumber(l.archive), Offset: l.pos, Size: e.StoredSize()}
	if err := p.append(ctx, header); err != nil {
		return err
	}
	l.frame.headers++
	return nil
}

// pad fills the last block of content of size bytes.
func (p *Packer) pad(ctx context.Context, size int64) error {
	var zeros [tarfile.Block]byte
	return p.append(ctx, zeros[:tarfile.Padding(size)])
}

// append copies b into frames.
func (p *Packer) append(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		if err := p.room(ctx); err != nil {
			return err
		}
		f := p.layout.frame
		n := min(len(b), cap(f.in)-len(f.in))
		f.in = append(f.in, b[:n]...)
		b = b[n:]
		p.layout.pos += int64(n)
	}
	return p.room(ctx)
}

// reserve makes ranges of frames for the next n bytes of c. before is the turn
// that follows the ranges reserved so far, nil at first; the turn that follows
// these is returned. With end, nothing follows.
func (p *Packer) reserve(ctx context.Context, c *content, n int64, before turn, end bool) (turn, error) {
	dense, err := p.dense(ctx, c, n, before)
	if err != nil {
		return nil, err
	}
	for {
		if err := p.room(ctx); err != nil {
			return nil, err
		}
		f := p.layout.frame
		size := int(min(n, int64(cap(f.in)-len(f.in))))
		n -= int64(size)
		r := fill{content: c, from: len(f.in), to: len(f.in) + size, entry: -1, before: before}
		f.in = f.in[:r.to]
		p.layout.pos += int64(size)
		if dense {
			f.dense += size
		}
		last := end && n == 0
		if last {
			r.entry = len(f.entries)
			f.entries = append(f.entries, capstan.Entry{}) // filled in by the worker
		} else {
			r.after = make(turn)
		}
		f.fills = append(f.fills, r)
		before = r.after
		if n == 0 {
			if dense && size >= tailCutting {
				return before, p.submit(ctx)
			}
			return before, nil
		}
	}
}

// dense looks whether a large content compresses. If it does not, its frames
// begin with it, so that they can be stored as they are.
func (p *Packer) dense(ctx context.Context, c *content, n int64, before turn) (bool, error) {
	if before != nil {
		return c.dense, nil
	}
	if n < p.plan.cutting() || p.plan.codec == capstan.CodecNone {
		return false, nil
	}
	p.waitLayout.enter(OnSource)
	sample := c.peek(ctx, peekSize)
	p.waitLayout.leave()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if len(sample) < peekSize || !p.layout.trial.Incompressible(sample) {
		return false, nil
	}
	c.dense = true
	if f := p.layout.frame; f != nil && len(f.in) >= tailCutting {
		return true, p.submit(ctx)
	}
	return true, nil
}

// endArchive writes the mark that ends an archive and hands it over.
func (p *Packer) endArchive(ctx context.Context) error {
	if err := p.append(ctx, tarfile.AppendEnd(nil)); err != nil {
		return err
	}
	p.layout.frame.last = true
	p.layout.open = false
	return p.submit(ctx)
}

// finish hands over everything that is left.
func (p *Packer) finish(ctx context.Context) error {
	if p.layout.open {
		return p.endArchive(ctx)
	}
	if p.layout.frame != nil {
		return p.submit(ctx)
	}
	return nil
}
