package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"capstan"
)

const (
	maxLine     = 16 << 20 // bytes of an entry's line with its newline
	maxHead     = 2 << 20  // of any other line
	maxArchives = 1 << 22
	maxExtents  = 1 << 18 // data ranges of an entry; a source gives 65,536 at most
	maxParts    = 1 << 17 // of an entry
	maxXattrs   = 1 << 16 // of an entry; Linux lists names of 64 KiB in all
	// flushAt is how many bytes are collected before they are compressed, some 1,200
	// lines: 4 MiB would make a manifest one percent smaller, and it is written beside
	// a whole run.
	flushAt = 512 << 10
)

// Writer writes a manifest. One goroutine uses it. After the first failure
// every further call returns the same error.
type Writer struct {
	stream   *compressor
	buf      []byte
	entries  int64
	archives int
	err      error
}

// NewWriter begins a manifest with the set and its archives, which come in the
// order of their numbers. It compresses onto w and does not close it.
func NewWriter(w io.Writer, set capstan.Set, archives []capstan.Archive) (*Writer, error) {
	stream, err := newCompressor(w)
	if err != nil {
		return nil, err
	}
	if len(archives) > maxArchives {
		return nil, fmt.Errorf("set %s has %d archives; a manifest takes %d", set.ID, len(archives), maxArchives)
	}
	m := &Writer{stream: stream, archives: len(archives)}
	m.line(wireSet(set))
	for i := range archives {
		if archives[i].Set != set.ID || i > 0 && archives[i].Number <= archives[i-1].Number {
			return nil, fmt.Errorf("archive %s does not belong to set %s or is out of order", archives[i].Name, set.ID)
		}
		m.line(wireArchive(&archives[i]))
	}
	return m, m.err
}

// line writes one of the few lines that are not entries.
func (w *Writer) line(value any) {
	if w.err != nil {
		return
	}
	data, err := json.Marshal(value)
	if err == nil && len(data) >= maxHead {
		err = fmt.Errorf("the line %.40s… has %s, more than a manifest takes", data, capstan.Bytes(len(data)))
	}
	if err != nil {
		w.err = err
		return
	}
	w.buf = append(append(w.buf, data...), '\n')
	w.flush(flushAt)
}

// Add appends an entry. It copies what it keeps. An entry with more metadata than
// a line takes stands there as failed, without attributes and places; the reason
// says so.
func (w *Writer) Add(e *capstan.Entry) error {
	if w.err != nil {
		return w.err
	}
	before := len(w.buf)
	buf, err := appendEntry(w.buf, e)
	if err == nil && (len(buf)-before > maxLine || !withinLimits(e)) {
		buf, err = appendEntry(buf[:before], without(e))
	}
	if err == nil && len(buf)-before > maxLine {
		err = fmt.Errorf("entry %q has more metadata than a manifest takes (%s)", e.Path, capstan.Bytes(len(buf)-before))
	}
	if err != nil {
		w.err = err
		return err
	}
	w.buf = buf
	w.entries++
	w.flush(flushAt)
	return w.err
}

// withinLimits reports whether readers take as many elements as e has.
func withinLimits(e *capstan.Entry) bool {
	return len(e.Data) <= maxExtents && len(e.Parts) <= maxParts && len(e.Xattrs) <= maxXattrs
}

// without is what is said of an entry whose metadata does not fit into a line.
func without(e *capstan.Entry) *capstan.Entry {
	return &capstan.Entry{
		Path: e.Path, Kind: e.Kind, Outcome: capstan.OutcomeFailed, Reason: "it has more metadata than a manifest takes",
		Mode: e.Mode, UID: e.UID, GID: e.GID, ModTime: e.ModTime, Size: e.Size,
	}
}

// flush compresses what was collected when it has reached a size.
func (w *Writer) flush(size int) {
	if w.err != nil || len(w.buf) < size {
		return
	}
	if _, err := w.stream.Write(w.buf); err != nil {
		w.err = fmt.Errorf("write manifest: %w", err)
	}
	w.buf = w.buf[:0]
	if cap(w.buf) > 4*flushAt { // one huge entry does not keep its memory
		w.buf = nil
	}
}

// Close writes the last line, without which a manifest counts as cut off, and
// compresses what was collected. A Writer that failed is closed without effect.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.line(endLine{Type: "end", Archives: w.archives, Entries: w.entries})
	w.flush(0)
	return w.close()
}

// close gives the first failure, and lets nothing be written any more.
func (w *Writer) close() error {
	err := w.err
	if err == nil {
		w.err = errors.New("the manifest is closed")
	}
	return err
}

// Write writes a whole manifest onto w. An error of entries ends it; what is
// then on w is no manifest.
func Write(w io.Writer, set capstan.Set, archives []capstan.Archive, entries iter.Seq2[capstan.Entry, error]) error {
	m, err := NewWriter(w, set, archives)
	if err != nil {
		return err
	}
	for entry, err := range entries {
		if err != nil {
			return err
		}
		if err := m.Add(&entry); err != nil {
			return err
		}
	}
	return m.Close()
}
