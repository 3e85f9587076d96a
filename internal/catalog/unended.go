package catalog

import (
	"context"
	"database/sql"

	"capstan"
)

// Unended gives the committed archives at the end of an unfinished set that hold
// parts of a file whose last part no committed archive has: nothing tells of these
// parts, and the file is packed anew. Not among them is one that also holds a part of
// another file: taking it back would take that file back from all its archives.
func (c *Catalog) Unended(ctx context.Context, id capstan.SetID) ([]capstan.ArchiveNumber, error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return nil, c.failed(ctx, "unended archives", err)
	}
	var numbers []capstan.ArchiveNumber
	end, shared := false, false
	err = each(ctx, c.reads, sqlUnrecorded, with(row.no), func(rows *sql.Rows) error {
		var number, entries, held, pieces int64
		if err := rows.Scan(&number, &entries, &held, &pieces); err != nil {
			return err
		}
		if end = end || entries <= held || pieces > 0; !end {
			numbers = append(numbers, capstan.ArchiveNumber(number))
			end, shared = held > 0, held > 0 // there the file begins, behind others
		}
		return nil
	})
	if err == nil && shared {
		last := len(numbers) - 1
		var ends bool
		if ends, err = one(ctx, c.reads, sqlHasSplitEnd, with(row.no, int64(numbers[last])), new(int64)); ends {
			numbers = numbers[:last]
		}
	}
	return numbers, c.failed(ctx, "unended archives", err)
}
