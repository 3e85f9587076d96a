package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"capstan"
	"capstan/internal/digest"
)

// content is an item's content on its way into frames. The layout owns entry
// until it hands over the last range; the fields below belong to the holder of
// the turn.
type content struct {
	entry  capstan.Entry
	source capstan.Content
	size   int64 // bytes that are reserved for it
	dense  bool  // the layout found that it does not compress
	closed bool

	peeked []byte // read by the layout, not yet used
	read   int64  // bytes that came from source
	ended  bool   // nothing more comes from source
	err    error  // that ended it

	sum *digest.Stream // of what lies in frames that are packed; whoever sums them has it
}

// readChunk bounds how much one Read of a content asks for, so that a
// cancellation is seen in between.
const readChunk = 1 << 20

// pull reads up to len(b) bytes, fewer only at the end of the source.
func (c *content) pull(ctx context.Context, b []byte) int {
	n := copy(b, c.peeked)
	c.peeked = c.peeked[n:]
	for empty := 0; n < len(b) && !c.ended; {
		if ctx.Err() != nil {
			return n
		}
		m, err := c.source.Read(b[n:min(len(b), n+readChunk)])
		n += m
		c.read += int64(m)
		if m > 0 {
			empty = 0
		} else if empty++; err == nil && empty >= 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			c.ended = true
			if !errors.Is(err, io.EOF) {
				c.err = err
			}
		}
	}
	return n
}

// peek reads the first bytes while the layout still has the content.
func (c *content) peek(ctx context.Context, n int) []byte {
	b := make([]byte, n)
	c.peeked = b[:c.pull(ctx, b)]
	return c.peeked
}

// fillRange fills b from the source, and with zeros where that has ended.
func (c *content) fillRange(ctx context.Context, b []byte) {
	clear(b[c.pull(ctx, b):])
}

// finish closes the source after the last range was read and gives the entry's
// outcome.
func (c *content) finish() (outcome capstan.Outcome, reason string) {
	drift := ""
	if c.err == nil {
		drift = c.source.Drift()
	}
	c.closed = true
	if err := c.source.Close(); err != nil && c.err == nil {
		c.err = err
	}
	missing := c.size - c.read
	switch {
	case c.err != nil && c.read == 0 && errors.Is(c.err, fs.ErrNotExist):
		return capstan.OutcomeVanished, "gone before it was read; zeros stand in its place"
	case c.err != nil && missing > 0:
		return capstan.OutcomeFailed, fmt.Sprintf("%v; the last %d of %d bytes are stored as zeros", c.err, missing, c.size)
	case c.err != nil:
		return capstan.OutcomeFailed, c.err.Error()
	case missing > 0:
		if drift == "" {
			drift = fmt.Sprintf("ended after %d of %d bytes", c.read, c.size)
		}
		return capstan.OutcomeChanged, drift + "; the rest is stored as zeros"
	case drift != "":
		return capstan.OutcomeChanged, drift
	}
	return c.entry.Outcome, c.entry.Reason
}

// run fills one range of f. It reports false when ctx ended before, and the range is
// then in no defined state.
func (r *fill) run(ctx context.Context, f *frame, w *waits) bool {
	c, b := r.content, f.in[r.from:r.to]
	w.enter(OnSource)
	if r.before == nil || await(ctx, r.before) {
		c.fillRange(ctx, b)
	}
	w.leave()
	if ctx.Err() != nil {
		return false
	}
	if r.after != nil {
		close(r.after)
	} else {
		r.outcome, r.reason = c.finish()
	}
	return true
}

// complete puts the entry of a content that ends with r in its place.
func (f *frame) complete(r *fill) {
	e := r.content.entry
	e.Outcome, e.Reason, e.Hash = r.outcome, r.reason, r.content.sum.Sum()
	f.entries[r.entry] = e
}
