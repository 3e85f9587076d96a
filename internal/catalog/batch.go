package catalog

import (
	"fmt"
	"math"
	"strings"

	"capstan"
)

const (
	batchRows  = 50_000
	batchBytes = 6 << 20
)

// batch is what one transaction of an EntryWriter writes, packed.
type batch struct {
	rows    []row
	arena   []byte // for each row its path, then its attributes
	origins []origin
	number  map[origin]int32 // index in origins
	splits  []split
}

// row is an entry in the batch.
type row struct {
	at      uint32 // in the arena
	path    uint32 // length
	attrs   uint32 // length
	archive int32
	origin  int32
	kind    capstan.EntryKind
	outcome capstan.Outcome
	size    int64
}

// split names an archive that holds a part of the row, besides its last one.
type split struct {
	row     int32
	archive int32
}

func newBatch() *batch { return &batch{number: map[origin]int32{}} }

func (b *batch) full() bool { return len(b.rows) >= batchRows || len(b.arena) >= batchBytes }

func (b *batch) reset() {
	b.rows, b.arena, b.origins, b.splits = b.rows[:0], b.arena[:0], b.origins[:0], b.splits[:0]
	clear(b.number)
	if cap(b.arena) > 2*batchBytes { // after a monster among the entries
		b.arena = nil
	}
}

// fill packs entries until the batch is full and gives how many it took; all
// that it took is valid also beside an error.
func (b *batch) fill(entries []capstan.Entry) (int, error) {
	for i := range entries {
		if b.full() {
			return i, nil
		}
		if err := b.add(&entries[i]); err != nil {
			return i, err
		}
	}
	return len(entries), nil
}

func (b *batch) add(e *capstan.Entry) error {
	if !validPath(e.Path) {
		return fmt.Errorf("%q is no path of an entry", e.Path)
	}
	if e.Kind == 0 || e.Outcome == 0 {
		return fmt.Errorf("entry %q has no kind or no outcome", e.Path)
	}
	if e.Archive < 0 || e.Archive > math.MaxInt32 {
		return fmt.Errorf("entry %q names archive %d", e.Path, e.Archive)
	}
	number := int32(len(b.rows))
	archive := e.Archive
	if n := len(e.Parts); n > 0 {
		archive = e.Parts[n-1].Archive
		last := archive
		for _, part := range e.Parts[:n-1] {
			if part.Archive != archive && part.Archive != last {
				b.splits = append(b.splits, split{number, int32(part.Archive)})
				last = part.Archive
			}
		}
	}
	r := row{
		at: uint32(len(b.arena)), path: uint32(len(e.Path)), archive: int32(archive), origin: b.origin(e),
		kind: e.Kind, outcome: e.Outcome, size: e.Size,
	}
	b.arena = append(b.arena, e.Path...)
	b.arena = appendAttrs(b.arena, e)
	r.attrs = uint32(len(b.arena)) - r.at - r.path
	b.rows = append(b.rows, r)
	return nil
}

func (b *batch) origin(e *capstan.Entry) int32 {
	o := originOf(e)
	if len(b.rows) > 0 {
		if last := b.rows[len(b.rows)-1].origin; b.origins[last] == o {
			return last
		}
	}
	number, ok := b.number[o]
	if !ok {
		o.user, o.group = strings.Clone(o.user), strings.Clone(o.group)
		number = int32(len(b.origins))
		b.origins = append(b.origins, o)
		b.number[o] = number
	}
	return number
}

func (b *batch) pathOf(r *row) []byte {
	return b.arena[r.at : r.at+r.path : r.at+r.path]
}

func (b *batch) attrsOf(r *row) []byte {
	start := r.at + r.path
	return b.arena[start : start+r.attrs]
}

// validPath reports whether a path is what Entry.Path promises: nothing in the
// catalog may lead out of the place where a set is restored.
func validPath(path string) bool {
	start := 0
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		switch path[start:i] {
		case "", ".", "..":
			return false
		}
		start = i + 1
	}
	return true
}
