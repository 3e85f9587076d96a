package catalog

import (
	"context"
	"database/sql"
	"errors"
	"iter"

	"capstan"
)

// CountOutcomes counts the entries of a set that may be seen, and the bytes of
// its committed archives. It reads every entry's row: about a second for two
// million.
func (c *Catalog) CountOutcomes(ctx context.Context, id capstan.SetID) (capstan.Counts, error) {
	n, err := c.countOutcomes(ctx, id)
	return n, c.failed(ctx, "count the entries of set "+string(id), err)
}

func (c *Catalog) countOutcomes(ctx context.Context, id capstan.SetID) (n capstan.Counts, err error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return n, err
	}
	_, err = one(ctx, c.reads, sqlCount, with(row.no, row.no),
		&n.Stored, &n.Changed, &n.Unchanged, &n.Excluded, &n.Vanished, &n.Failed, &n.Deleted, &n.BytesIn)
	if err != nil {
		return n, err
	}
	n.Entries = n.Stored + n.Changed + n.Unchanged + n.Excluded + n.Vanished + n.Failed
	_, err = one(ctx, c.reads, sqlArchiveBytes, with(row.no), &n.BytesOut)
	return n, err
}

const notablePage = 1000

// Failures yields the entries of a set that a person may ask about, with their
// reasons: failed ones first, then changed, vanished and excluded ones, each in
// the order of the scan. Its cost is that of what it yields.
func (c *Catalog) Failures(ctx context.Context, id capstan.SetID) iter.Seq2[capstan.Entry, error] {
	return c.Notable(ctx, id, capstan.OutcomeFailed, capstan.OutcomeChanged, capstan.OutcomeVanished, capstan.OutcomeExcluded)
}

// Notable yields the entries with one of the given outcomes, outcome by outcome,
// which can be any but stored and unchanged.
func (c *Catalog) Notable(ctx context.Context, id capstan.SetID, outcomes ...capstan.Outcome) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		v, err := c.view(ctx, id)
		if err == nil {
			for _, outcome := range outcomes {
				var more bool
				if more, err = v.notable(ctx, outcome, yield); err != nil || !more {
					break
				}
			}
		}
		if err != nil {
			yield(capstan.Entry{}, c.failed(ctx, "list entries of set "+string(id), err))
		}
	}
}

func (v *view) notable(ctx context.Context, outcome capstan.Outcome, yield func(capstan.Entry, error) bool) (more bool, err error) {
	if !isNotable(outcome) {
		return false, errors.New("entries that are " + outcome.String() + " are not listed by outcome")
	}
	names := v.names()
	next := key{dir: -1}
	for {
		keys, err := v.keys(ctx, sqlNotable, v.no, int64(outcome), next.dir, []byte(next.name), notablePage)
		if err != nil {
			return false, err
		}
		for _, k := range keys {
			entry, found, err := names.entry(ctx, k)
			if err != nil {
				return false, err
			}
			if found && entry.Outcome == outcome && !yield(entry, nil) {
				return false, nil
			}
		}
		if len(keys) < notablePage {
			return true, v.still(ctx)
		}
		next = keys[len(keys)-1]
	}
}

// key is the place of an entry in its set.
type key struct {
	dir  int64
	name string
}

func (v *view) keys(ctx context.Context, query string, args ...any) ([]key, error) {
	var keys []key
	err := each(ctx, v.c.reads, query, args, func(rows *sql.Rows) error {
		var k key
		var name sql.RawBytes
		err := rows.Scan(&k.dir, &name)
		k.name = string(name)
		keys = append(keys, k)
		return err
	})
	return keys, err
}
