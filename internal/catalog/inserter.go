package catalog

import (
	"database/sql/driver"
	"strings"
)

// insertRows is how many rows a full statement holds; more gain nothing.
const insertRows = 50

// inserter collects rows for INSERT statements of many rows. What its arguments
// refer to must stay as it is until the rows are written.
type inserter struct {
	first any // value of the first column of every row: the set's number
	width int
	n     int
	args  []driver.NamedValue
	sizes []insertSize // descending, ends with 1
}

type insertSize struct {
	rows  int
	query string
}

func newInserter(prefix, row string) inserter {
	in := inserter{width: strings.Count(row, "?")}
	for _, rows := range []int{insertRows, 10, 1} {
		in.sizes = append(in.sizes, insertSize{rows, prefix + strings.TrimSuffix(strings.Repeat(row+", ", rows), ", ")})
	}
	in.args = make([]driver.NamedValue, insertRows*in.width)
	for i := range in.args {
		in.args[i].Ordinal = i + 1
	}
	return in
}

func (in *inserter) reset() { in.n = 0 }

// add takes a row, without its first column, and writes when there are enough.
func (in *inserter) add(t *tx, values ...any) error {
	at := in.n * in.width
	in.args[at].Value = in.first
	for i, value := range values {
		in.args[at+1+i].Value = value
	}
	in.n++
	if in.n == insertRows {
		return in.flush(t)
	}
	return nil
}

// flush writes the rows that wait.
func (in *inserter) flush(t *tx) error {
	done := 0
	for _, size := range in.sizes {
		for in.n-done >= size.rows {
			args := in.args[done*in.width : (done+size.rows)*in.width]
			if done > 0 { // the driver finds arguments by ordinal
				copied := in.args[:len(args)]
				for i := range args {
					copied[i].Value = args[i].Value
				}
				args = copied
			}
			if err := t.bulk(size.query, args); err != nil {
				return err
			}
			done += size.rows
		}
	}
	in.n = 0
	return nil
}
