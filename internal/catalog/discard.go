package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"

	"capstan"
)

func isNotFound(err error) bool { return errors.Is(err, capstan.ErrNotFound) }

// defaultRemoveRows is how many rows of entries one transaction removes.
const defaultRemoveRows = 20_000

// DiscardUnsealed takes out of an unfinished set what no committed archive
// holds: archives that were planned and not committed, their entries, and the
// entries of no archive (failed, excluded, deleted ones), which the resumed scan
// finds anew. It tells how many archives, and how many entries in them. It may be
// repeated after a crash in its middle. A complete or partial set is refused
// (capstan.ErrRefused).
//
// The caller holds the lock of the set's job. It reads all rows of the set.
func (c *Catalog) DiscardUnsealed(ctx context.Context, id capstan.SetID) (archives, entries int64, err error) {
	archives, entries, err = c.discard(ctx, id)
	return archives, entries, c.failed(ctx, "discard what is unsealed of set "+string(id), err)
}

func (c *Catalog) discard(ctx context.Context, id capstan.SetID) (archives, entries int64, err error) {
	c.mu.Lock()
	_, writing := c.writers[id]
	c.mu.Unlock()
	if writing {
		return 0, 0, fmt.Errorf("set %s has an open entry writer", id)
	}
	var no int64
	var numbers []int64
	err = c.transact(ctx, func(t *tx) error {
		if no, err = t.openSet(id); err != nil {
			return err
		}
		if entries, err = t.dropSplit(no); err != nil {
			return err
		}
		return each(ctx, t, sqlUncommitted, with(no), func(rows *sql.Rows) error {
			var number int64
			err := rows.Scan(&number)
			numbers = append(numbers, number)
			return err
		})
	})
	if err != nil {
		return 0, 0, err
	}
	// From the end to the beginning: what lies in a directory has a higher key than
	// the directory itself, so a directory comes when it is known what is left in it.
	for upper := (key{dir: math.MaxInt64}); ; {
		var n int64
		lower, found, err := c.rangeStart(ctx, no, upper)
		if err == nil {
			err = c.transact(ctx, func(t *tx) (err error) {
				n, err = t.dropUnsealed(no, lower, upper)
				return err
			})
		}
		if err != nil {
			return 0, 0, err
		}
		entries += n
		if !found {
			break
		}
		upper = lower
	}
	return int64(len(numbers)), entries, c.transact(ctx, func(t *tx) error {
		for _, number := range numbers {
			if _, err := t.exec(sqlDeleteCopiesOf, no, number); err != nil {
				return err
			}
			if _, err := t.exec(sqlDeleteArchive, no, number); err != nil {
				return err
			}
		}
		_, err := t.exec(sqlDropLostPieces, no)
		return err
	})
}

// rangeStart gives the key that many rows below upper; found is false, and the
// key below all, when there are fewer.
func (c *Catalog) rangeStart(ctx context.Context, no int64, upper key) (lower key, found bool, err error) {
	var name []byte
	lower.dir = -1
	found, err = one(ctx, c.reads, sqlRangeStart, with(no, upper.dir, []byte(upper.name), c.removeRows), &lower.dir, &name)
	lower.name = string(name)
	return lower, found, err
}

// dropSplit removes the split entries of which a part lies in an archive that is
// not committed, though their last part is in a committed one.
func (t *tx) dropSplit(no int64) (dropped int64, err error) {
	var keys []key
	err = each(t.ctx, t, sqlPiecesUnsealed, with(no, no), func(rows *sql.Rows) error {
		var k key
		err := rows.Scan(&k.dir, &k.name)
		keys = append(keys, k)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		var archive int64
		found, err := t.one(sqlArchiveOf, with(no, k.dir, []byte(k.name)), &archive)
		if err != nil {
			return 0, err
		}
		if !found {
			continue
		}
		if _, err := t.exec(sqlDeleteEntry, no, k.dir, []byte(k.name)); err != nil {
			return 0, err
		}
		if _, err := t.exec(sqlAddHeld, -1, no, archive); err != nil {
			return 0, err
		}
		dropped++
	}
	return dropped, nil
}

// dropUnsealed removes from lower up to, and without, upper.
func (t *tx) dropUnsealed(no int64, lower, upper key) (entries int64, err error) {
	span := with(no, lower.dir, []byte(lower.name), upper.dir, []byte(upper.name))
	unsealed := append(slices.Clip(span), no)
	if _, err := t.one(sqlCountUnsealed, unsealed, &entries); err != nil {
		return 0, err
	}
	if _, err := t.exec(sqlDeleteUnsealed, unsealed...); err != nil {
		return 0, err
	}
	type dir struct {
		key
		child int64
	}
	var dirs []dir
	err = each(t.ctx, t, sqlDirsUnsealed, unsealed, func(rows *sql.Rows) error {
		var d dir
		err := rows.Scan(&d.dir, &d.name, &d.child)
		dirs = append(dirs, d)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, d := range dirs {
		touched, err := t.exec(sqlDropEmptyDir, no, d.dir, []byte(d.name), no, d.child)
		if err != nil {
			return 0, err
		}
		if touched > 0 {
			_, err = t.exec(sqlDropDir, no, d.child)
		} else {
			_, err = t.exec(sqlImplyDir, []byte{}, no, d.dir, []byte(d.name))
		}
		if err != nil {
			return 0, err
		}
	}
	for outcome := capstan.OutcomeChanged; outcome <= capstan.OutcomeDeleted; outcome++ {
		if _, err := t.exec(sqlDropNotable, append(with(int64(outcome)), span...)...); err != nil {
			return 0, err
		}
	}
	return entries, nil
}

// DropArchive takes committed archives out of an unfinished set, since their
// bytes were lost, with their entries, and does all that DiscardUnsealed does.
// Several at once cost no more than one.
func (c *Catalog) DropArchive(ctx context.Context, id capstan.SetID, numbers ...capstan.ArchiveNumber) error {
	err := c.transact(ctx, func(t *tx) error {
		no, err := t.openSet(id)
		if err != nil {
			return err
		}
		for _, number := range numbers {
			// Without its copies in the same step: none is written of what is not committed.
			if _, err := t.exec(sqlDeleteCopiesOf, no, int64(number)); err != nil {
				return err
			}
			if _, err := t.exec(sqlUncommitArchive, no, int64(number)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		_, _, err = c.discard(ctx, id)
	}
	return c.failed(ctx, "drop an archive of set "+string(id), err)
}
