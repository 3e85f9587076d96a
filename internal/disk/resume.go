package disk

import (
	"errors"
	"io/fs"

	"capstan"
)

// Resume takes up a file whose last Write failed because the medium was full
// (capstan.ErrNoSpace): the bytes that Write said it took are there, Size counts
// them, and the next Write appends to them. The caller has waited for room in
// between. Nothing else can be resumed: after a failed write-out or Sync, bytes
// that were taken may be lost, and Resume gives the file's failure again. It
// does nothing to a file without one.
func (f *File) Resume() error {
	failed, ok := errors.AsType[*fs.PathError](f.err)
	if ok && failed.Op == string(OpWrite) && errors.Is(f.err, capstan.ErrNoSpace) {
		f.err = nil
	}
	return f.err
}
