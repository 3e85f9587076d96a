package catalog

import (
	"context"
	"database/sql"
	"errors"

	"capstan"
)

// DeleteSet takes a set out of the catalog, in transactions of bounded size: from
// the first on nobody sees it, and after a crash the next DeleteSet, Import or
// Sweep goes on. What lies on volumes is not touched. Of a set that Forget let go,
// its row stays, and the volumes that still hold some of it; it may be repeated.
// capstan.ErrNotFound if there is no such set.
func (c *Catalog) DeleteSet(ctx context.Context, id capstan.SetID) error {
	err := c.transact(ctx, func(t *tx) error {
		set, found, err := anyPhase(ctx, t, id)
		if err != nil {
			return err
		}
		if !found || set.phase == phaseImporting {
			return unknownSet(id)
		}
		if set.phase == phaseForgotten {
			return nil
		}
		_, err = t.exec(sqlSetPhase, phaseDeleting, set.no)
		return err
	})
	if err == nil {
		err = c.sweep(ctx)
	}
	return c.failed(ctx, "delete set "+string(id), err)
}

// Sweep finishes deletions that were interrupted. It may be called at any time.
func (c *Catalog) Sweep(ctx context.Context) error {
	return c.failed(ctx, "finish deletions", c.sweep(ctx))
}

func (c *Catalog) sweep(ctx context.Context) error {
	var numbers []int64
	err := each(ctx, c.reads, sqlSetsInPhase, with(phaseDeleting), func(rows *sql.Rows) error {
		var no int64
		err := rows.Scan(&no)
		numbers = append(numbers, no)
		return err
	})
	for _, no := range numbers {
		if err == nil {
			err = c.purge(ctx, no)
		}
	}
	return err
}

// purge removes all rows of a set that nobody sees. Two processes may do it at
// once: each removes what the other has left.
func (c *Catalog) purge(ctx context.Context, no int64) error {
	for after := (key{dir: -1}); ; {
		end, found, err := c.rangeEnd(ctx, no, after)
		if err != nil {
			return err
		}
		err = c.transact(ctx, func(t *tx) error {
			if !found {
				_, err := t.exec(sqlDeleteAfter, no, after.dir, []byte(after.name))
				return err
			}
			_, err := t.exec(sqlDeleteRange, no, after.dir, []byte(after.name), end.dir, []byte(end.name))
			return err
		})
		if err != nil {
			return err
		}
		if !found {
			break
		}
		after = end
	}
	var last int64
	if _, err := one(ctx, c.reads, sqlLastDir, with(no), &last); err != nil {
		return err
	}
	for from := rootDir; from < last; from += c.removeRows {
		err := c.transact(ctx, func(t *tx) error {
			_, err := t.exec(sqlDeleteDirs, no, from, from+c.removeRows)
			return err
		})
		if err != nil {
			return err
		}
	}
	return c.transact(ctx, func(t *tx) error {
		for _, query := range []string{sqlDeleteNotables, sqlDeletePieces, sqlDeleteRewraps, sqlDeleteRotation, sqlDeleteCopies, sqlDeleteArchives} {
			if _, err := t.exec(query, no); err != nil {
				return err
			}
		}
		forgotten, err := t.one(sqlForgottenNo, with(no), new(int64))
		if err != nil || !forgotten {
			return errors.Join(err, t.removeSetRow(no))
		}
		// A later set's signature covers it: that it was let go must be known.
		for _, query := range []string{sqlDeleteAllDirs, sqlDeletePin, sqlDeleteDrills} {
			if _, err := t.exec(query, no); err != nil {
				return err
			}
		}
		_, err = t.exec(sqlSetPhase, phaseForgotten, no)
		return err
	})
}

func (t *tx) removeSetRow(no int64) error {
	for _, query := range []string{sqlDeleteAllDirs, sqlDeleteDemands, sqlDeleteReleased, sqlDeletePin, sqlDeleteDrills} {
		if _, err := t.exec(query, no); err != nil {
			return err
		}
	}
	_, err := t.exec(sqlDeleteSet, no)
	return err
}

// rangeEnd gives the key that many rows after another; false when fewer are left.
func (c *Catalog) rangeEnd(ctx context.Context, no int64, after key) (end key, found bool, err error) {
	var name []byte
	found, err = one(ctx, c.reads, sqlRangeEnd, with(no, after.dir, []byte(after.name), c.removeRows), &end.dir, &name)
	end.name = string(name)
	return end, found, err
}
