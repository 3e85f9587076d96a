package manifest

import (
	"fmt"
	"io"

	"capstan"
)

// Draft holds the entries of a manifest, compressed, while set and archives are
// not known yet, which stand before them: entries are written beside the packing,
// and WriteDraft makes the manifest in the time that copying takes. One goroutine
// uses it. After the first failure every further call returns the same error.
type Draft struct{ lines Writer }

// NewDraft begins a draft. It compresses onto w, which blocks as it may, and does
// not close it.
func NewDraft(w io.Writer) (*Draft, error) {
	stream, err := newCompressor(w)
	if err != nil {
		return nil, err
	}
	return &Draft{Writer{stream: stream}}, nil
}

// Add appends an entry, as Writer.Add does.
func (d *Draft) Add(e *capstan.Entry) error { return d.lines.Add(e) }

// Close compresses what was collected and gives the number of entries.
func (d *Draft) Close() (entries int64, err error) {
	w := &d.lines
	w.flush(0)
	return w.entries, w.close()
}

// WriteDraft writes a whole manifest onto w: the set, its archives in the order of
// their numbers, and a closed draft of so many entries.
func WriteDraft(w io.Writer, set capstan.Set, archives []capstan.Archive, draft io.Reader, entries int64) error {
	m, err := NewWriter(w, set, archives)
	if err != nil {
		return err
	}
	m.flush(0)
	if m.err != nil {
		return m.err
	}
	if _, err := io.Copy(w, draft); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	m.entries = entries
	return m.Close()
}
