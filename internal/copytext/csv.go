package copytext

import (
	"bufio"
	"io"
)

// CSV writes the rows of r to w as CSV: a line with the names of the columns, then a
// line for each row. Every value stands in quotes, NULL is nothing at all, so that it
// can be told from an empty string; COPY … FROM … (FORMAT csv, HEADER) takes it back.
// A table without columns gives an empty line for each row. It gives the number of
// rows, and refuses one that does not have a field for each column.
func CSV(w io.Writer, r io.Reader, columns []string) (rows int64, err error) {
	c := &converter{in: newReader(r), out: bufio.NewWriterSize(w, bufferSize), columns: len(columns)}
	for i, name := range columns {
		if i > 0 {
			c.put(',')
		}
		c.put('"')
		for j := range len(name) {
			c.char(name[j])
		}
		c.put('"')
	}
	c.put('\n')
	for {
		ended, err := c.in.atEnd()
		if err == nil && ended {
			err = c.in.rest()
		} else if err == nil {
			err = c.rowOf()
		}
		if ended || err != nil {
			if flushed := c.flush(); err == nil {
				err = flushed
			}
			return c.in.row - 1, err
		}
		c.in.row++
	}
}

// converter turns rows into CSV. Errors of the writer are sticky, and seen at the end
// of each row.
type converter struct {
	in      *reader
	out     *bufio.Writer
	columns int
	failed  error
}

func (c *converter) put(b byte) {
	if err := c.out.WriteByte(b); err != nil {
		c.failed = err
	}
}

// char writes a byte of a value within quotes.
func (c *converter) char(b byte) {
	if b == '"' {
		c.put('"')
	}
	c.put(b)
}

func (c *converter) flush() error {
	if err := c.out.Flush(); err != nil {
		return err
	}
	return c.failed
}

// rowOf converts one row.
func (c *converter) rowOf() error {
	if c.columns == 0 {
		b, err := c.in.ReadByte()
		if err != nil {
			return c.in.early(err)
		}
		if b != '\n' {
			return c.in.damaged("it has values, the table has no columns")
		}
		c.put('\n')
		return c.failed
	}
	for field := 1; ; field++ {
		if field > c.columns {
			return c.in.damaged("it has more than %d values", c.columns)
		}
		if field > 1 {
			c.put(',')
		}
		last, err := c.field()
		if err != nil {
			return err
		}
		if last && field < c.columns {
			return c.in.damaged("it has %d values instead of %d", field, c.columns)
		}
		if last {
			c.put('\n')
			return c.failed
		}
	}
}

// field converts one field with the tab or line end behind it; last says that it was
// a line end.
func (c *converter) field() (last bool, err error) {
	if next, _ := c.in.Peek(3); len(next) == 3 && next[0] == '\\' && next[1] == 'N' && (next[2] == '\t' || next[2] == '\n') {
		_, err = c.in.Discard(3)
		return next[2] == '\n', err
	}
	c.put('"')
	for {
		b, err := c.in.ReadByte()
		if err != nil {
			return false, c.in.early(err)
		}
		switch b {
		case '\t', '\n':
			c.put('"')
			return b == '\n', c.failed
		case '\\':
			if b, err = c.escape(); err != nil {
				return false, err
			}
		}
		c.char(b)
	}
}

// escape reads what follows a backslash.
func (c *converter) escape() (byte, error) {
	b, err := c.in.ReadByte()
	if err != nil {
		return 0, c.in.early(err)
	}
	switch b {
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'v':
		return '\v', nil
	case '0', '1', '2', '3', '4', '5', '6', '7':
		return c.number(b-'0', 8, 2)
	case 'x':
		return c.number(0, 16, 2)
	case '\n':
		return 0, c.in.damaged("a backslash stands before its end")
	}
	return b, nil // itself
}

// number reads up to more digits of a character's number; no hexadecimal digit at all
// makes it the letter that announced them.
func (c *converter) number(value, base byte, more int) (byte, error) {
	read := 0
	for ; read < more; read++ {
		next, err := c.in.Peek(1)
		if err == io.EOF { //nolint:errorlint // Peek gives it as it is
			break
		}
		if err != nil {
			return 0, err
		}
		d := digit(next[0])
		if d >= base {
			break
		}
		value = value*base + d
		_, _ = c.in.Discard(1) // it was seen
	}
	if base == 16 && read == 0 {
		return 'x', nil
	}
	return value, nil
}

// digit is the value of a hexadecimal digit, 16 or more for what is none.
func digit(b byte) byte {
	switch {
	case b >= '0' && b <= '9':
		return b - '0'
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10
	case b >= 'A' && b <= 'F':
		return b - 'A' + 10
	}
	return 255
}
