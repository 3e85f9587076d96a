package catalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"capstan"
)

// What a set is doing besides its status (the column phase).
const (
	phaseThere     = 0
	phaseImporting = 1
	phaseDeleting  = 2
	phaseForgotten = 3 // only its row is left
)

// BeginSet makes the next set of the month of now, with status running. The job
// must be known. No id is given twice, also after the set is gone.
func (c *Catalog) BeginSet(ctx context.Context, job capstan.JobKey, host string, codec capstan.Codec, sources []string, now time.Time) (capstan.Set, error) {
	return c.beginSet(ctx, capstan.Set{Job: job, Started: now, Codec: codec, Host: host, Sources: sources}, now)
}

// BeginConsolidated is BeginSet for a set that is to hold the tree of another one, by
// itself: it stands in time where that one stands, and is encrypted to the recipients.
func (c *Catalog) BeginConsolidated(ctx context.Context, of capstan.Set, codec capstan.Codec, recipients []string, now time.Time) (capstan.Set, error) {
	return c.beginSet(ctx, capstan.Set{
		Job: of.Job, Consolidates: of.ID, Started: of.Started, Codec: codec, Recipients: recipients, Host: of.Host, Sources: of.Sources,
	}, now)
}

// beginSet makes the row of a set, all at once, so that no kill leaves one of which
// nobody knows what it was to be.
func (c *Catalog) beginSet(ctx context.Context, set capstan.Set, now time.Time) (capstan.Set, error) {
	set.Status, set.Claim = capstan.RunRunning, rand.Text()
	err := c.write(ctx, "begin a set", func(t *tx) error {
		number, err := t.nextNumber(capstan.NewSetID(now, 1).Month())
		if err != nil {
			return err
		}
		set.ID = capstan.NewSetID(now, int(number))
		_, err = t.insertSet(&set, phaseThere)
		return err
	})
	if err != nil {
		return capstan.Set{}, err
	}
	return set, nil
}

// nextNumber takes the next number of a counter, which starts at 1.
func (t *tx) nextNumber(counter string) (number int64, err error) {
	touched, err := t.exec(sqlTakeNumber, counter)
	if err == nil && touched == 0 {
		_, err = t.exec(sqlFirstNumber, counter)
	}
	if err == nil {
		_, err = t.one(sqlLastNumber, with(counter), &number)
	}
	return number, err
}

// maxKept is the number from which on those of imported sets are not kept clear: a
// foreign one near the end of the range must not use the month up.
const maxKept = 900_000_000

// keepNumber sees to it that nextNumber never gives the number of the set again.
func (t *tx) keepNumber(id capstan.SetID) error {
	if _, err := t.exec(sqlMonthKnown, id.Month(), id.Number(), id.Month()); err != nil {
		return err
	}
	_, err := t.exec(sqlNumberTaken, id.Number(), id.Month(), id.Number())
	return err
}

// setCounter numbers the rows of sets. No number is given twice, so that a reader
// of a set that was deleted meanwhile never reads another.
const setCounter = "sets"

// insertSet adds the set and the root of its directories, and gives its number.
func (t *tx) insertSet(set *capstan.Set, phase int) (no int64, err error) {
	if no, err = t.nextNumber(setCounter); err != nil {
		return 0, err
	}
	sources, err := encodeList(set.Sources)
	if err != nil {
		return 0, err
	}
	recipients, err := encodeList(set.Recipients)
	if err != nil {
		return 0, err
	}
	n := &set.Counts
	_, err = t.exec(sqlInsertSet, set.ID.Month(), set.ID.Number(), phase,
		no, string(set.ID), string(set.Job), string(set.Base), string(set.Consolidates), set.Claim, string(set.Status), unix(set.Started), unix(set.Finished), string(set.Codec),
		recipients, set.Host, sources, 0, n.Entries, n.Stored, n.Changed, n.Unchanged, n.Excluded, n.Vanished, n.Failed, n.Deleted,
		int64(n.BytesIn), int64(n.BytesOut))
	switch {
	case isDangling(err):
		return 0, &capstan.Error{Class: capstan.ErrNotFound, Op: "job", Object: string(set.Job), Err: errors.New("the catalog does not know it")}
	case err != nil:
		return 0, err
	}
	_, err = t.exec(sqlInsertDir, no, rootDir, rootDir, []byte{})
	return no, err
}

// BuildOn records that a set is an incremental one over base, before its first
// archive.
func (c *Catalog) BuildOn(ctx context.Context, id, base capstan.SetID) error {
	return c.write(ctx, "base of set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err == nil {
			_, err = t.exec(sqlSetBase, string(base), no)
		}
		return err
	})
}

// EncryptTo records to whom a set's files are encrypted, before its first archive:
// PlanArchive names archives by it. A set that has archives is refused
// (capstan.ErrRefused).
func (c *Catalog) EncryptTo(ctx context.Context, id capstan.SetID, recipients []string) error {
	return c.write(ctx, "recipients of set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		empty, err := t.one(sqlSetIsEmpty, with(no), new(int64))
		if err != nil {
			return err
		}
		if !empty {
			return &capstan.Error{Class: capstan.ErrRefused, Op: "encrypt set", Object: string(id), Err: errors.New("it holds something"), Safe: "nothing was changed"}
		}
		list, err := encodeList(recipients)
		if err == nil {
			_, err = t.exec(sqlSetEncrypted, list, no)
		}
		return err
	})
}

// SkipSet gives a set up whose name turned out to be taken on a volume; BeginSet
// then gives the next number. A set with archives or entries is refused
// (capstan.ErrRefused).
func (c *Catalog) SkipSet(ctx context.Context, id capstan.SetID) error {
	return c.write(ctx, "skip set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		empty, err := t.one(sqlSetIsEmpty, with(no), new(int64))
		if err != nil {
			return err
		}
		if !empty {
			return &capstan.Error{Class: capstan.ErrRefused, Op: "skip set", Object: string(id), Err: errors.New("it holds something"), Safe: "nothing was removed"}
		}
		return t.removeSetRow(no)
	})
}

// SetStatus records what became of a set. complete and partial are refused
// while an archive of the set is not committed, and complete while a volume lacks
// it: success is derived from what is durable. Where a lease of the fences is not
// held any more, nothing changes: capstan.ErrLeaseLost.
func (c *Catalog) SetStatus(ctx context.Context, id capstan.SetID, status capstan.RunStatus, n capstan.Counts, fences ...Fence) error {
	return c.write(ctx, "record the status of set "+string(id), func(t *tx) error {
		if err := t.fenced(fences); err != nil {
			return err
		}
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		var finished int64
		if status != capstan.RunRunning {
			finished = unix(c.now())
		}
		if finishedStatus(status) {
			open, err := t.one(sqlAllUncommitted, with(no), new(int64))
			if err != nil {
				return err
			}
			if open {
				return fmt.Errorf("set %s cannot be %s: an archive of it is not committed", id, status)
			}
		}
		if status == capstan.RunComplete {
			var volume string
			unmet, err := t.one(sqlUnmet, with(no), &volume)
			if err != nil {
				return err
			}
			if unmet {
				return fmt.Errorf("set %s cannot be complete: volume %s does not have it", id, volume)
			}
		}
		_, err = t.exec(sqlFinishSet, string(status), finished, n.Entries, n.Stored, n.Changed, n.Unchanged,
			n.Excluded, n.Vanished, n.Failed, n.Deleted, int64(n.BytesIn), int64(n.BytesOut), no)
		return err
	})
}

// finishedStatus reports whether a set of this status has all its archives
// committed and gets no further ones.
func finishedStatus(status capstan.RunStatus) bool {
	return status == capstan.RunComplete || status == capstan.RunPartial
}

// setNo gives the internal number of a set that is there for all.
func (t *tx) setNo(id capstan.SetID) (int64, error) {
	row, found, err := anyPhase(t.ctx, t, id)
	switch {
	case err != nil:
	case !found || row.phase == phaseImporting:
		err = unknownSet(id)
	case row.phase != phaseThere && row.forgotten != 0:
		err = forgottenSet(id, row.forgotten)
	case row.phase != phaseThere:
		err = unknownSet(id)
	}
	return row.no, err
}

// setPhase is where a set stands, also one that nobody sees.
type setPhase struct {
	no, phase int64
	status    capstan.RunStatus
	forgotten int64
}

func anyPhase(ctx context.Context, from queries, id capstan.SetID) (s setPhase, found bool, err error) {
	found, err = one(ctx, from, sqlSetAnyPhase, with(string(id)), &s.no, &s.phase, &s.status, &s.forgotten)
	return s, found, err
}

func unknownSet(id capstan.SetID) error {
	return &capstan.Error{
		Class: capstan.ErrNotFound, Op: "set", Object: string(id), Err: errors.New("the catalog does not know it"),
		Next: "see: capstan sets",
	}
}

// forgottenSet is the error of a set that was let go; at is when, in nanoseconds.
func forgottenSet(id capstan.SetID, at int64) error {
	return &capstan.Error{
		Class: capstan.ErrNotFound, Op: "set", Object: string(id),
		Err:  fmt.Errorf("it was forgotten at %s", fromUnix(at).Local().Format(time.DateTime)),
		Next: "see: capstan sets",
	}
}

// setRow is a set with what only the catalog knows of it.
type setRow struct {
	no        int64
	forgotten time.Time
	set       capstan.Set
}

func scanSet(rows *sql.Rows) (r setRow, err error) {
	var sources, recipients string
	var started, finished, forgotten int64
	s, n := &r.set, &r.set.Counts
	err = rows.Scan(&r.no, &s.ID, &s.Job, &s.Base, &s.Consolidates, &s.Claim, &s.Status, &started, &finished, &s.Codec, &recipients, &s.Host, &sources, &forgotten,
		&n.Entries, &n.Stored, &n.Changed, &n.Unchanged, &n.Excluded, &n.Vanished, &n.Failed, &n.Deleted, &n.BytesIn, &n.BytesOut)
	if err != nil {
		return r, err
	}
	s.Started, s.Finished, r.forgotten = fromUnix(started), fromUnix(finished), fromUnix(forgotten)
	if s.Sources, err = decodeList(sources); err != nil {
		return r, err
	}
	if s.Recipients, err = decodeList(recipients); len(s.Recipients) == 0 {
		s.Recipients = nil
	}
	return r, err
}

func readSets(ctx context.Context, from queries, query string, args ...any) ([]setRow, error) {
	var sets []setRow
	err := each(ctx, from, query, args, func(rows *sql.Rows) error {
		row, err := scanSet(rows)
		sets = append(sets, row)
		return err
	})
	return sets, err
}

// findSet gives the row of a set, or capstan.ErrNotFound.
func (c *Catalog) findSet(ctx context.Context, id capstan.SetID) (setRow, error) {
	sets, err := readSets(ctx, c.reads, sqlSet, string(id))
	if err != nil {
		return setRow{}, err
	}
	if len(sets) == 0 {
		var at int64
		if forgotten, err := one(ctx, c.reads, sqlForgottenAt, with(string(id)), &at); err != nil || forgotten {
			return setRow{}, errors.Join(err, forgottenSet(id, at))
		}
		return setRow{}, unknownSet(id)
	}
	return sets[0], nil
}
