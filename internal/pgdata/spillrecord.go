package pgdata

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Action is what a change in a spill file does (ReorderBufferChangeType).
type Action string

// The actions that a transaction spills. Those that the server uses within itself
// are internal.
const (
	ActionInsert     Action = "insert"
	ActionUpdate     Action = "update"
	ActionDelete     Action = "delete"
	ActionMessage    Action = "message"
	ActionTruncate   Action = "truncate"
	ActionInvalidate Action = "invalidation"
	ActionSpecInsert Action = "speculative insert"
	ActionInternal   Action = "internal"
)

// action translates the number of an action. 14 put the invalidations into the
// middle, and aborts of speculative insertions before truncate.
func action(major int, number uint32) (Action, bool) {
	since14 := [...]Action{
		ActionInsert, ActionUpdate, ActionDelete, ActionMessage, ActionInvalidate, ActionInternal, ActionInternal, ActionInternal,
		ActionSpecInsert, ActionInternal, ActionInternal, ActionTruncate,
	}
	of13 := [...]Action{
		ActionInsert, ActionUpdate, ActionDelete, ActionMessage, ActionInternal, ActionInternal, ActionInternal,
		ActionSpecInsert, ActionInternal, ActionTruncate, ActionInternal,
	}
	table := since14[:]
	if major == 13 {
		table = of13[:]
	}
	if int64(number) >= int64(len(table)) {
		return "", false
	}
	return table[number], true
}

// Relation is where a table's rows are kept: tablespace, database, and the number
// of its files (RelFileLocator). A rewrite of the table gives it a new number.
type Relation struct{ Tablespace, Database, Number uint32 }

// SpillRecord is one change in a spill file.
type SpillRecord struct {
	Size     int64 // bytes in the file
	At       LSN   // where the change is in the WAL
	Action   Action
	Relation Relation // of an insert, update or delete; else zero
}

// SpillReader reads the records of a spill file, one after another and in bounded
// memory. It knows the layout of 64-bit little-endian machines.
type SpillReader struct {
	in    *bufio.Reader
	major int
	start LSN
	size  uint32
	err   error
}

// A record begins with a ReorderBufferDiskChange; the rows follow it.
const (
	recordAt       = 8
	recordAction   = 16
	recordRelation = 40
	recordHeader   = 88
)

// NewSpillReader reads a spill file of a server of this major version. start is
// where its segment begins (SpillName.Start) and segment the size of segments:
// a file whose records lie elsewhere is no spill file or is damaged.
func NewSpillReader(in io.Reader, major int, start LSN, segment uint32) *SpillReader {
	return &SpillReader{in: bufio.NewReaderSize(in, 64<<10), major: major, start: start, size: segment}
}

// Next gives the next record; io.EOF after the last one, ErrDamaged where the file
// breaks off within a record (as it does when the server was killed while it
// wrote) or holds something else. An error is repeated.
func (r *SpillReader) Next() (SpillRecord, error) {
	if r.err != nil {
		return SpillRecord{}, r.err
	}
	record, err := r.next()
	r.err = err
	return record, err
}

func (r *SpillReader) next() (SpillRecord, error) {
	var header [recordHeader]byte
	if n, err := io.ReadFull(r.in, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return SpillRecord{}, fmt.Errorf("spill file: %w: it breaks off after %d bytes of a record", ErrDamaged, n)
		}
		return SpillRecord{}, err
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(header[at:]) }
	size, at := binary.LittleEndian.Uint64(header[:]), LSN(binary.LittleEndian.Uint64(header[recordAt:]))
	// Rows are at most 1 GiB each, and an update has two.
	const largest = 3 << 30
	act, ok := action(r.major, u32(recordAction))
	if size < recordHeader || size > largest || !ok || at < r.start || uint64(at-r.start) >= uint64(r.size) {
		return SpillRecord{}, fmt.Errorf("spill file: %w: a record of %d bytes, action %d, at %s", ErrDamaged, size, u32(recordAction), at)
	}
	record := SpillRecord{Size: int64(size), At: at, Action: act}
	switch act {
	case ActionInsert, ActionUpdate, ActionDelete, ActionSpecInsert:
		record.Relation = Relation{u32(recordRelation), u32(recordRelation + 4), u32(recordRelation + 8)}
	default:
	}
	rest := int64(size) - recordHeader
	if n, err := r.in.Discard(int(rest)); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("spill file: %w: %d bytes of the last record are missing", ErrDamaged, rest-int64(n))
		}
		return SpillRecord{}, err
	}
	return record, nil
}
