package rowsum

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"capstan"
)

// bufferSize is how much is read at a time; a longer row is added in pieces.
const bufferSize = 256 << 10

// Text makes the sum of the rows of a data file of a dump: COPY text, to the line that
// ends it (\.). That this line is not there, and anything but line ends behind it, is
// capstan.ErrDamaged. The number of rows is right beside an error too.
func Text(r io.Reader) (s Sum, rows int64, err error) {
	in := bufio.NewReaderSize(r, bufferSize)
	var long *Long
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if long == nil {
				long = NewLong()
			}
			if err := longRow(in, long, line); err != nil {
				return s, rows, early(err, rows)
			}
			long.End(&s)
			rows++
			continue
		case err != nil:
			return s, rows, early(err, rows)
		case string(line) == "\\.\n":
			return s, rows, tail(in)
		}
		s.Row(line)
		rows++
	}
}

// longRow adds a row that is longer than the buffer; first is its beginning.
func longRow(in *bufio.Reader, long *Long, first []byte) error {
	long.Piece(first)
	for {
		piece, err := in.ReadSlice('\n')
		long.Piece(piece)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// early is the error of text that ends in the middle.
func early(err error, rows int64) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the rows end without their mark, after row %d: %w", rows, capstan.ErrDamaged)
	}
	return fmt.Errorf("after row %d: %w", rows, err)
}

// tail reads what stands behind the mark to its end, so that a stream's own sums are
// looked at too.
func tail(in *bufio.Reader) error {
	for {
		rest, err := in.Peek(1)
		if errors.Is(err, io.EOF) && len(rest) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("behind the rows: %w", err)
		}
		if rest, _ = in.Peek(in.Buffered()); len(bytes.Trim(rest, "\n")) > 0 {
			return fmt.Errorf("there is more behind the rows: %w", capstan.ErrDamaged)
		}
		_, _ = in.Discard(len(rest)) // they are buffered
	}
}
