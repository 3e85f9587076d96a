package manifest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"

	"capstan"
)

// maxPath bounds a path in DELETED; a filesystem's own limit is 4,096 bytes for
// what one call takes, and trees can be deeper.
const maxPath = 16 << 20

// DeletedWriter writes DELETED: paths, each with a NUL after it. A path stands
// for itself and for all below it. After the first failure every further call
// returns the same error.
type DeletedWriter struct {
	out *bufio.Writer
	err error
}

// NewDeletedWriter begins a list on w, which it does not close.
func NewDeletedWriter(w io.Writer) *DeletedWriter {
	return &DeletedWriter{out: bufio.NewWriterSize(w, 128<<10)}
}

// Add appends a path. One that leads out of a directory is refused.
func (w *DeletedWriter) Add(path string) error {
	if w.err == nil {
		w.err = checkPath(path)
	}
	if w.err == nil && len(path) > maxPath {
		w.err = fmt.Errorf("path %q… is longer than %s", path[:100], capstan.Bytes(maxPath))
	}
	if w.err == nil {
		_, _ = w.out.WriteString(path) // a bufio.Writer keeps its error
		w.err = w.out.WriteByte(0)
	}
	return w.err
}

// Close writes what is still held. The list is whole when it returns nil.
func (w *DeletedWriter) Close() error {
	if w.err == nil {
		w.err = w.out.Flush()
	}
	return w.err
}

// ReadDeleted yields the paths of a DELETED file. The last thing it yields may
// be an error, with which the path is void: capstan.ErrDamaged for what
// DeletedWriter does not write.
func ReadDeleted(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		for {
			path, err := readPath(in)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(path, err) || err != nil {
				return
			}
		}
	}
}

// readPath gives io.EOF only where a file may end.
func readPath(in *bufio.Reader) (string, error) {
	var path []byte
	for {
		piece, err := in.ReadSlice(0)
		path = append(path, piece...)
		switch {
		case err == nil:
			text := string(path[:len(path)-1])
			if err := checkPath(text); err != nil {
				return "", fmt.Errorf("%s: %w: %w", DeletedName, capstan.ErrDamaged, err)
			}
			return text, nil
		case len(path) > maxPath:
			return "", fmt.Errorf("%s: %w: a path without end", DeletedName, capstan.ErrDamaged)
		case errors.Is(err, bufio.ErrBufferFull):
		case !errors.Is(err, io.EOF):
			return "", fmt.Errorf("read %s: %w", DeletedName, err)
		case len(path) > 0:
			return "", fmt.Errorf("%s: %w: it is cut off", DeletedName, capstan.ErrDamaged)
		default:
			return "", io.EOF
		}
	}
}
