package archive

import (
	"context"
	"fmt"

	"capstan"
	"capstan/internal/tarfile"
)

// maxParts bounds the parts of a file, so that its line in a manifest stays
// within what readers take.
const maxParts = 1 << 15

// isSplit reports whether a file whose parts' names begin with stem was split.
func (l *layout) isSplit(stem string) bool {
	_, ok := l.stems[stem]
	return ok
}

// splitting notes that e, with a header of that length, is split, or tells why it
// cannot be.
func (p *Packer) splitting(e *capstan.Entry, header int64) string {
	// All but the first and the last part fill an archive; the maps of a sparse file
	// take room besides.
	content := e.StoredSize() + int64(len(e.Data))*(tarfile.MapBound+tarfile.Block)
	room := p.plan.archive - tarfile.EndSize - header
	if content/max(1, room) >= maxParts-2 {
		return fmt.Sprintf("it is larger than %d archives; use a larger archive size", maxParts)
	}
	stem := tarfile.PartStem(e.Path)
	if p.layout.isSplit(stem) {
		return "its parts would have the names of those of another file; rename it"
	}
	if p.layout.stems == nil {
		p.layout.stems = map[string]struct{}{}
	}
	p.layout.stems[stem] = struct{}{}
	return ""
}

// split packs a file that is larger than an archive as parts: entries of their
// own, each in one archive, that hold the file one after another. The first
// part fills what is left of the current archive if that is a quarter at least, and if
// no other split file ends there: a run that is cut off within this file takes back
// the archives that it begins in, and not those of its neighbour with them.
func (p *Packer) split(ctx context.Context, c *content, e *capstan.Entry) error {
	l := &p.layout
	most := p.plan.archive - tarfile.EndSize
	rest := remains(e)
	var before turn
	for i := 1; ; i++ {
		if l.open && (most-l.pos < p.plan.archive/4 || i == 1 && l.split) {
			if err := p.endArchive(ctx); err != nil {
				return err
			}
		}
		room := most
		if l.open {
			room = most - l.pos
		}
		part, header, err := p.part(e, &rest, i, room)
		if err != nil {
			return err
		}
		stored := part.StoredSize()
		end := rest.done()
		if err := p.begin(ctx, &part, header); err != nil {
			return err
		}
		e.Parts = append(e.Parts, capstan.Part{Location: part.Location, Start: rest.start - part.Size, Length: part.Size})
		if end {
			e.Location = e.Parts[0].Location
			c.entry = *e
		}
		if before, err = p.reserve(ctx, c, stored, before, end); err != nil {
			return err
		}
		if err := p.pad(ctx, stored); err != nil {
			return err
		}
		if end {
			l.split = true
			return nil
		}
	}
}

// part makes the next part, with its header in the layout's scratch, so that
// both fit into room. At least one block of content goes into every part.
func (p *Packer) part(e *capstan.Entry, rest *remaining, i int, room int64) (capstan.Entry, []byte, error) {
	l := &p.layout
	part := *e
	part.Path = tarfile.PartName(e.Path, i)
	content := room
	for {
		next := *rest
		part.Size, part.Data = next.take(content)
		stored := part.StoredSize()
		var err error
		if l.scratch, err = tarfile.AppendHeader(l.scratch[:0], &part, part.Path, stored); err != nil {
			return part, nil, err
		}
		over := int64(len(l.scratch)) + stored + tarfile.Padding(stored) - room
		if over <= 0 || content <= tarfile.Block {
			*rest = next
			return part, l.scratch, nil
		}
		content = max(tarfile.Block, content-over)
	}
}

// remaining is what parts have not covered yet of a file.
type remaining struct {
	start  int64 // logical offset
	size   int64 // of the file
	sparse bool
	data   []capstan.Extent // of a sparse file, not covered yet
}

func remains(e *capstan.Entry) remaining {
	return remaining{size: e.Size, sparse: e.Sparse, data: e.Data}
}

func (r *remaining) done() bool { return r.start == r.size }

// take covers up to budget bytes of content, in whole blocks unless it is the
// end of the file, and gives the logical length of the part and, relative to its
// start, its data ranges. For a sparse file the map counts towards the budget.
func (r *remaining) take(budget int64) (length int64, data []capstan.Extent) {
	budget &^= tarfile.Block - 1
	if !r.sparse {
		length = min(budget, r.size-r.start)
		r.start += length
		return length, nil
	}
	start := r.start
	for len(r.data) > 0 && len(data) < tarfile.MaxExtents {
		x := r.data[0]
		if len(data) > 0 {
			budget -= tarfile.MapBound
		}
		n := min(x.Length, budget&^(tarfile.Block-1))
		if n <= 0 {
			break
		}
		data = append(data, capstan.Extent{Offset: x.Offset - start, Length: n})
		budget -= n
		r.start = x.Offset + n
		if n < x.Length {
			// The slice is the entry's: cover the rest of the range in a copy.
			r.data = append([]capstan.Extent{{Offset: x.Offset + n, Length: x.Length - n}}, r.data[1:]...)
			break
		}
		r.data = r.data[1:]
	}
	if len(r.data) == 0 {
		r.start = r.size
	}
	return r.start - start, data
}
