package copytext

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"capstan"
)

const bufferSize = 64 << 10

// end is the line that closes the rows.
const end = `\.`

// reader reads a stream of rows.
type reader struct {
	*bufio.Reader
	row int64 // number of the row that is read
}

func newReader(r io.Reader) *reader {
	return &reader{Reader: bufio.NewReaderSize(r, bufferSize), row: 1}
}

func (r *reader) damaged(format string, args ...any) error {
	return fmt.Errorf("row %d: %s: %w", r.row, fmt.Sprintf(format, args...), capstan.ErrDamaged)
}

// early turns the end of the stream where rows should go on into damage.
func (r *reader) early(err error) error {
	if errors.Is(err, io.EOF) {
		return r.damaged(`the data ends without the line \.`)
	}
	return err
}

// atEnd reports, at the begin of a row, whether it is the line that closes the rows;
// then the line is taken.
func (r *reader) atEnd() (bool, error) {
	line, err := r.Peek(len(end) + 1)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return false, err
	case len(line) == 0:
		return false, r.early(io.EOF)
	case string(line) == end+"\n", err != nil && string(line) == end:
		_, err = r.Discard(len(line))
		return true, err
	}
	return false, nil
}

// rest reads what follows the rows: line ends.
func (r *reader) rest() error {
	for {
		b, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if b != '\n' && b != '\r' {
			return r.damaged(`more data follows the line \.`)
		}
	}
}

// Copy writes the rows of r to w as they are, without the line that closes them, so
// that COPY … FROM takes them. It gives their number.
func Copy(w io.Writer, r io.Reader) (rows int64, err error) {
	in := newReader(r)
	for {
		ended, err := in.atEnd()
		if err != nil {
			return in.row - 1, err
		}
		if ended {
			return in.row - 1, in.rest()
		}
		for {
			line, err := in.ReadSlice('\n')
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return in.row - 1, in.early(err)
			}
			if _, failed := w.Write(line); failed != nil {
				return in.row - 1, failed
			}
			if err == nil {
				break
			}
		}
		in.row++
	}
}
