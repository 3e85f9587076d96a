package powerloss

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Kind is what an operation does.
type Kind string

// The kinds. Sync is fsync and fdatasync of a file, SyncDir of a directory.
const (
	Create   Kind = "create" // of a name for a new file
	Mkdir    Kind = "mkdir"
	Link     Kind = "link"
	Rename   Kind = "rename"
	Exchange Kind = "exchange"
	Unlink   Kind = "unlink" // of files and directories
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Allocate Kind = "allocate"
	Chmod    Kind = "chmod"
	Sync     Kind = "sync"
	SyncDir  Kind = "syncdir"
	Unknown  Kind = "unknown" // Name says what
)

// Root is the number of the topmost directory.
const Root = 1

// Record is an operation that went well. Files and directories have numbers, which
// are never used again.
type Record struct {
	Kind  Kind
	Node  uint64 // that it is about; of names, what bears the name
	Other uint64 // of an exchange, what bears the second name
	In    Entry  // the name that is made, taken away, or that a rename comes from
	To    Entry  // of a rename and an exchange

	Offset int64  // of a write or an allocation
	Size   int64  // of a truncation or an allocation
	Mode   uint32 // of a new file or directory, or a chmod: permissions
	Data   []byte // of a write
	// Before is how many records there were when a sync began: what came after them may
	// have come too late for it.
	Before int
}

// Entry is a name in a directory.
type Entry struct {
	Dir  uint64
	Name string
}

// Writer appends records to a log. One goroutine uses it at a time.
type Writer struct {
	out *gob.Encoder
	n   int
}

// NewWriter begins a log.
func NewWriter(to io.Writer) *Writer { return &Writer{out: gob.NewEncoder(to)} }

// Append writes a record out before it returns.
func (w *Writer) Append(r Record) error {
	w.n++
	return w.out.Encode(r)
}

// Len is the number of records so far.
func (w *Writer) Len() int { return w.n }

// Log is what was done, from an empty directory on.
type Log struct {
	Records []Record
	paths   []string // of each record's node before it, of a rename also after it
}

// Read reads a log to its end, or to a record that is not whole.
func Read(from io.Reader) (*Log, error) {
	l := &Log{}
	in := gob.NewDecoder(from)
	for {
		var r Record
		err := in.Decode(&r)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", len(l.Records), err)
		}
		l.Records = append(l.Records, r)
	}
	return l.named(), nil
}

// Len is the number of records.
func (l *Log) Len() int { return len(l.Records) }

// Path is where the file or directory of record i was, in the topmost directory;
// of names, the name that the record is about, of a rename the new one.
func (l *Log) Path(i int) string { return l.paths[i] }

// String tells record i.
func (l *Log) String(i int) string {
	r := l.Records[i]
	text := fmt.Sprintf("%d %s %s", i, r.Kind, l.paths[i])
	switch r.Kind {
	case Write:
		text += fmt.Sprintf(" %d+%d", r.Offset, len(r.Data))
	case Truncate, Allocate:
		text += fmt.Sprintf(" %d+%d", r.Offset, r.Size)
	case Rename:
		text += " from " + r.In.Name
	case Sync, SyncDir:
		text += fmt.Sprintf(" of what came before %d", r.Before)
	default:
	}
	return text
}

// Without gives the log of a program that had not done some of the operations; drop
// is asked about each record. Only syncs can be left out without making nonsense of
// what follows.
func (l *Log) Without(drop func(i int) bool) *Log {
	out := &Log{}
	kept := make([]int, 0, len(l.Records)+1) // of the records before each
	for i, r := range l.Records {
		kept = append(kept, len(out.Records))
		if !drop(i) {
			out.Records = append(out.Records, r)
		}
	}
	kept = append(kept, len(out.Records))
	for i, r := range out.Records {
		if r.Kind == Sync || r.Kind == SyncDir {
			out.Records[i].Before = kept[r.Before]
		}
	}
	return out.named()
}

// Find gives the numbers of the records of one kind whose path is accepted.
func (l *Log) Find(kind Kind, accept func(path string) bool) (found []int) {
	for i, r := range l.Records {
		if r.Kind == kind && accept(l.paths[i]) {
			found = append(found, i)
		}
	}
	return found
}

// Content is what a file held after the first n records, with nothing lost; nil
// where there is none of that path.
func (l *Log) Content(n int, path string) []byte {
	var node uint64
	for i := range n {
		if r := l.Records[i]; l.paths[i] == path && slices.Contains([]Kind{Create, Link, Rename}, r.Kind) {
			node = r.Node
		}
	}
	if node == 0 {
		return nil
	}
	f := contents{data: []byte{}}
	for _, r := range l.Records[:n] {
		if r.Node == node {
			f.apply(r)
		}
	}
	return f.data
}
