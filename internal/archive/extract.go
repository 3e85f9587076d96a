package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"capstan"
	"capstan/internal/tarfile"
)

// Extracted is one wanted entry.
type Extracted struct {
	Entry *capstan.Entry
	// Content gives the stored bytes. It ends with io.EOF only if their number
	// and, where Entry.Hash is known, their SHA-256 are right; else the error wraps
	// capstan.ErrDamaged, or is the file's or the context's. It is valid until
	// the handler returns, and never nil.
	Content io.Reader
	// Err says that there is nothing to read: another header stands there than
	// Entry's, or its frame is damaged.
	Err error
}

// Extract reads wanted entries, whose offsets must strictly ascend, and calls
// handle for each, in that order but from several goroutines for different
// entries. Frames are decoded ahead by as many goroutines, within memory (for
// decoded and compressed frames; at least two frames are held). Only frames that
// hold wanted entries are read. Headers must match the entries in path, kind,
// size and link. An entry in parts is wanted as its parts, see PartEntry.
//
// Damage concerns single entries: see Extracted. Extract itself fails with the
// first error that handle returned, or the cause of ctx; it returns after every
// call of handle has.
func (a *Reader) Extract(ctx context.Context, wanted []capstan.Entry, workers int, memory capstan.Bytes, handle func(ctx context.Context, x *Extracted) error) error {
	for i := range wanted {
		switch {
		case len(wanted[i].Parts) > 0:
			return fmt.Errorf("%q is stored in parts and is to be read as such", wanted[i].Path)
		case i > 0 && wanted[i].Offset <= wanted[i-1].Offset:
			return fmt.Errorf("%q at %d is wanted after offset %d", wanted[i].Path, wanted[i].Offset, wanted[i-1].Offset)
		}
	}
	workers = max(1, min(workers, len(wanted)))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := &extraction{reader: a, wanted: wanted, spans: make([]span, len(wanted)), handle: handle, cancel: cancel}
	x.window = newWindow(ctx, a, x.plan(), workers, memory)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { x.run(ctx) })
	}
	group.Wait()
	x.window.wait()
	return context.Cause(ctx)
}

// extraction is the state of one Extract.
type extraction struct {
	reader *Reader
	wanted []capstan.Entry
	spans  []span
	window *window
	next   atomic.Int64
	handle func(ctx context.Context, x *Extracted) error
	cancel context.CancelCauseFunc
}

// span is the range of planned frames that an entry needs; last < first: none.
type span struct{ first, last int }

// plan lists the frames that the wanted entries need, and the entries' spans.
func (x *extraction) plan() []planned {
	var plan []planned
	var header []byte
	a := x.reader
	for i := range x.wanted {
		e := &x.wanted[i]
		x.spans[i] = span{first: len(plan), last: len(plan) - 1}
		from := a.frameAt(e.Offset)
		to := min(from, len(a.frames)-1)
		// How long the header is matters only to entries that may reach into the next frame.
		if i+1 == len(x.wanted) || a.frameAt(x.wanted[i+1].Offset-1) != from {
			header, to = x.reach(header, i)
		}
		if n := len(plan); n > 0 && plan[n-1].frame == from {
			x.spans[i].first--
			plan[n-1].users++
			from++
		}
		for ; from <= to; from++ {
			plan = append(plan, planned{frame: from, users: 1})
		}
		x.spans[i].last = len(plan) - 1
	}
	return plan
}

// reach gives the last frame that an entry needs; scratch is memory for its header.
func (x *extraction) reach(scratch []byte, i int) ([]byte, int) {
	e := &x.wanted[i]
	header, err := tarfile.AppendHeader(scratch[:0], e, e.Path, e.Location.Size)
	if err != nil {
		header = header[:0] // the header that stands there will not match
	}
	end := e.Offset + max(int64(len(header)), tarfile.Block) + max(0, e.Location.Size)
	if i+1 < len(x.wanted) {
		end = min(end, x.wanted[i+1].Offset)
	}
	return header, min(x.reader.frameAt(end-1), len(x.reader.frames)-1)
}

// run handles entries until there are none left or ctx ends.
func (x *extraction) run(ctx context.Context) {
	var parser tarfile.Parser
	for ctx.Err() == nil {
		i := int(x.next.Add(1)) - 1
		if i >= len(x.wanted) {
			return
		}
		if err := x.entry(ctx, i, &parser); err != nil {
			x.cancel(err)
			return
		}
	}
}

func (x *extraction) entry(ctx context.Context, i int, parser *tarfile.Parser) error {
	e := &x.wanted[i]
	s := newStream(ctx, x.reader, e.Offset)
	s.window, s.next, s.last = x.window, x.spans[i].first, x.spans[i].last
	defer s.close()
	b := newBody(s, e.Location.Size, e.Hash)
	defer b.close()
	found := &Extracted{Entry: e, Content: b}
	if h, err := parser.Next(s); err != nil {
		found.Err = headerError(e, err)
	} else {
		found.Err = Match(e, &h.Entry)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.err = found.Err
	return x.handle(ctx, found)
}

// headerError says that no header stands where e's should.
func headerError(e *capstan.Entry, err error) error {
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the archive ends there: %w", capstan.ErrDamaged)
	}
	return fmt.Errorf("no header at %d of archive %d: %w", e.Offset, e.Location.Archive, err)
}

// Match compares what identifies an entry with the header that was found at its place.
// An error wraps capstan.ErrDamaged.
func Match(e, found *capstan.Entry) error {
	what := ""
	switch {
	case found.Path != e.Path:
		what = "path"
	case found.Kind != e.Kind:
		what = "kind"
	case found.Location.Size != e.Location.Size || (e.Kind == capstan.KindFile && found.Size != e.Size):
		what = "size"
	case found.Link != e.Link && (e.Kind == capstan.KindSymlink || e.Kind == capstan.KindHardlink):
		what = "target"
	default:
		return nil
	}
	return fmt.Errorf("the header at %d of archive %d has another %s (%s %q, %d bytes): %w",
		e.Offset, e.Location.Archive, what, found.Kind, found.Path, found.Location.Size, capstan.ErrDamaged)
}

// PartEntry describes the i-th part, counted from 0, of an entry that is stored
// in parts as the entry that its archive holds: with the part's name, size, data
// ranges and location, and without a hash.
func PartEntry(e *capstan.Entry, i int) capstan.Entry {
	p := e.Parts[i]
	part := *e
	part.Path = tarfile.PartName(e.Path, i+1)
	part.Parts, part.Hash = nil, capstan.Hash{}
	part.Location, part.Size = p.Location, p.Length
	part.Data = nil
	for _, x := range e.Data {
		from, to := max(x.Offset, p.Start), min(x.Offset+x.Length, p.Start+p.Length)
		if from < to {
			part.Data = append(part.Data, capstan.Extent{Offset: from - p.Start, Length: to - from})
		}
	}
	return part
}
