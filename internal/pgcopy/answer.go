package pgcopy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"capstan/internal/rowsum"
)

const (
	bufferSize = 512 << 10
	headerSize = 5 // of a message: its kind, and its length with the length itself
)

// buffer reads much at a time.
type buffer struct {
	from       io.Reader
	data       []byte
	start, end int // what was read and not yet taken
}

// want makes n bytes (at most bufferSize) available and gives them without taking.
func (b *buffer) want(n int) ([]byte, error) {
	for b.end-b.start < n {
		if b.start+n > len(b.data) {
			b.end = copy(b.data, b.data[b.start:b.end])
			b.start = 0
		}
		read, err := b.from.Read(b.data[b.end:])
		b.end += read
		if err != nil && b.end-b.start < n {
			if errors.Is(err, io.EOF) {
				return nil, errors.New("the server ended the connection")
			}
			return nil, fmt.Errorf("the connection to the server broke: %w", err)
		}
	}
	return b.data[b.start : b.start+n], nil
}

// some gives what is there, at least a byte and at most n.
func (b *buffer) some(n int) ([]byte, error) {
	if b.start == b.end {
		if _, err := b.want(1); err != nil {
			return nil, err
		}
	}
	return b.data[b.start:min(b.end, b.start+n)], nil
}

func (b *buffer) take(n int) {
	b.start += n
	if b.start == b.end {
		b.start, b.end = 0, 0
	}
}

// answer is what comes back to one query.
type answer struct {
	Result
	w       io.Writer
	long    *rowsum.Long    // made for the first row that is longer than wholeRow
	tag     string          // of the last statement
	refused *pgconn.PgError // the first error
	ready   bool
}

// next reads one message; its errors are those of the connection and of the writer.
func (a *answer) next(in *buffer) error {
	header, err := in.want(headerSize)
	if err != nil {
		return err
	}
	kind, length := header[0], int(int32(binary.BigEndian.Uint32(header[1:])))-4 //nolint:gosec // the protocol's length is signed
	in.take(headerSize)
	if length < 0 {
		return fmt.Errorf("the server sent a message of %d bytes", length)
	}
	if kind == 'd' {
		a.Rows++
		return a.data(in, length)
	}
	return a.other(in, kind, length)
}

// wholeRow is how long a row may be that is moved together in the buffer.
const wholeRow = bufferSize / 8

// data hands the content of a CopyData on: a row in text format is one message.
func (a *answer) data(in *buffer, length int) error {
	if a.w == nil {
		return errors.New("the server sent data that was not asked for")
	}
	a.Bytes += int64(length)
	if length > wholeRow {
		return a.longRow(in, length)
	}
	row, err := in.want(length)
	if err != nil {
		return err
	}
	a.Sum.Row(row)
	_, err = a.w.Write(row)
	in.take(length)
	return err
}

func (a *answer) longRow(in *buffer, length int) error {
	if a.long == nil {
		a.long = rowsum.NewLong()
	}
	for length > 0 {
		piece, err := in.some(length)
		if err != nil {
			return err
		}
		a.long.Piece(piece)
		if _, err := a.w.Write(piece); err != nil {
			return err
		}
		in.take(len(piece))
		length -= len(piece)
	}
	a.long.End(&a.Sum)
	return nil
}

func (a *answer) other(in *buffer, kind byte, length int) error {
	if length > bufferSize {
		return fmt.Errorf("the server sent a message of kind %q with %d bytes", kind, length)
	}
	body, err := in.want(length)
	if err != nil {
		return err
	}
	defer in.take(length)
	switch kind {
	case 'C':
		var done pgproto3.CommandComplete
		if err := done.Decode(body); err != nil {
			return err
		}
		a.tag = string(done.CommandTag)
	case 'E':
		var failed pgproto3.ErrorResponse
		if err := failed.Decode(body); err != nil {
			return err
		}
		if a.refused == nil {
			a.refused = pgconn.ErrorResponseToPgError(&failed)
		}
	case 'Z':
		a.ready = true
	default: // the beginning and end of data, notices, parameters, rows of other statements
	}
	return nil
}
