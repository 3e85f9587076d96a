package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"capstan"
)

// QueuedCopy is a copy that a volume has yet to get.
type QueuedCopy struct {
	Archive  capstan.Archive
	Attempts int // that have failed
}

// NextCopy gives the copy of a set that a volume gets next: the first archive
// that is queued for it, that was being written when its process died, or whose
// retry is due. found is false when there is none now; due is then the time of the
// next retry, zero if none is to come. The queue is this query: nothing else
// holds it.
func (c *Catalog) NextCopy(ctx context.Context, id capstan.SetID, volume capstan.VolumeID, now time.Time) (next QueuedCopy, found bool, due time.Time, err error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return next, false, due, c.failed(ctx, "queue", err)
	}
	for _, state := range [...]capstan.CopyState{capstan.CopySealed, capstan.CopyQueued, capstan.CopyWriting} {
		if err == nil {
			err = c.earlier(ctx, &next, &found, sqlNextInState, string(volume), string(state), row.no)
		}
	}
	if err == nil {
		err = c.earlier(ctx, &next, &found, sqlNextDue, string(volume), row.no, unix(now))
	}
	next.Archive.Set = id
	if err == nil && !found {
		var retry int64
		_, err = one(ctx, c.reads, sqlNextRetry, with(row.no, string(volume)), &retry)
		due = fromUnix(retry)
	}
	return next, found, due, c.failed(ctx, "queue of volume "+string(volume), err)
}

// earlier looks for a copy, and takes it if its archive comes before the one that
// was found so far.
func (c *Catalog) earlier(ctx context.Context, next *QueuedCopy, found *bool, query string, args ...any) error {
	var q QueuedCopy
	var hash []byte
	a := &q.Archive
	there, err := one(ctx, c.reads, query, args, &a.Number, &a.Name, &a.Codec, &a.Entries, &a.TarSize, &a.Size, &hash, &q.Attempts)
	if err != nil || !there || *found && next.Archive.Number < a.Number {
		return err
	}
	a.Hash, err = toHash(hash)
	*next, *found = q, true
	return err
}

// QueueLength is how many archives of a set wait for a volume, retries left out.
func (c *Catalog) QueueLength(ctx context.Context, id capstan.SetID, volume capstan.VolumeID) (n int, err error) {
	row, err := c.findSet(ctx, id)
	if err == nil {
		_, err = one(ctx, c.reads, sqlQueued, with(row.no, string(volume)), &n)
	}
	return n, c.failed(ctx, "queue of volume "+string(volume), err)
}

// FailCopy records that writing a copy failed. It is tried again from retry on;
// with a zero retry it waits for a person. Where a lease of the fences is not held
// any more, nothing changes: capstan.ErrLeaseLost.
func (c *Catalog) FailCopy(ctx context.Context, id capstan.SetID, number capstan.ArchiveNumber, volume capstan.VolumeID, problem string, retry time.Time, fences ...Fence) error {
	return c.write(ctx, "record a failed copy", func(t *tx) error {
		if err := t.fenced(fences); err != nil {
			return err
		}
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		touched, err := t.exec(sqlFailCopy, unix(c.now()), problem, unix(retry), no, int64(number), string(volume))
		if err == nil && touched == 0 {
			err = fmt.Errorf("archive %d of set %s has no copy on volume %s that could fail", number, id, volume)
		}
		return err
	})
}

// FailWaiting gives up, until a person asks for them, all copies of a set that a
// volume has yet to get, and its demand.
func (c *Catalog) FailWaiting(ctx context.Context, id capstan.SetID, volume capstan.VolumeID, problem string) error {
	return c.write(ctx, "record failed copies", func(t *tx) error {
		no, err := t.setNo(id)
		if err == nil {
			_, err = t.exec(sqlFailWaiting, unix(c.now()), problem, no, string(volume))
		}
		if err == nil {
			err = t.setDemand(no, volume, capstan.CopyFailed)
		}
		return err
	})
}

// Demand records that volumes shall hold all of a set: copies of its committed
// archives that are not on them are queued, whatever became of them before. A
// volume that has all of the set already keeps its state. It may be repeated.
func (c *Catalog) Demand(ctx context.Context, id capstan.SetID, volumes ...capstan.VolumeID) error {
	return c.write(ctx, "demand set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		for _, volume := range volumes {
			if err := t.demand(no, volume, c.now()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) demand(no int64, volume capstan.VolumeID, now time.Time) error {
	var missing []capstan.ArchiveNumber
	err := each(t.ctx, t, sqlMissingCopies, with(no, string(volume)), func(rows *sql.Rows) error {
		var number capstan.ArchiveNumber
		err := rows.Scan(&number)
		missing = append(missing, number)
		return err
	})
	if err != nil {
		return err
	}
	for _, number := range missing {
		if err := t.setCopy(no, number, volume, capstan.CopyQueued, "", now); err != nil {
			return err
		}
	}
	requeued, err := t.exec(sqlRequeueCopies, unix(now), no, string(volume), no)
	if err != nil {
		return err
	}
	known, err := t.one(sqlDemandKnown, with(no, string(volume)), new(int64))
	if err != nil {
		return err
	}
	if known && len(missing) == 0 && requeued == 0 {
		return t.reopenDemand(no, volume)
	}
	return t.setDemand(no, volume, capstan.CopyQueued)
}

// reopenDemand asks again for what was given up; what is there stays so.
func (t *tx) reopenDemand(no int64, volume capstan.VolumeID) error {
	var open bool
	err := each(t.ctx, t, sqlDemands, with(no), func(rows *sql.Rows) error {
		var d capstan.Demand
		err := rows.Scan(&d.Volume, &d.State)
		open = open || d.Volume == volume && d.State != capstan.CopyWritten
		return err
	})
	if err != nil || !open {
		return err
	}
	return t.setDemand(no, volume, capstan.CopyQueued)
}

func (t *tx) setDemand(no int64, volume capstan.VolumeID, state capstan.CopyState) error {
	err := t.updateOrInsert(sqlUpdateDemand, sqlInsertDemand, string(state), no, string(volume))
	if isDangling(err) {
		return &capstan.Error{
			Class: capstan.ErrNotFound, Op: "volume", Object: string(volume), Err: errors.New("the catalog does not know it"),
		}
	}
	return err
}

// MeetDemand records that a volume holds all of a set, and the SHA-256 of the
// set's SHA256SUMS there, after they are durable. It is refused, and nothing
// changes, while an archive of the set is not on the volume.
func (c *Catalog) MeetDemand(ctx context.Context, id capstan.SetID, volume capstan.VolumeID, sum capstan.Hash) error {
	return c.write(ctx, "record set "+string(id)+" on a volume", func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		var number capstan.ArchiveNumber
		var state capstan.CopyState
		lacks, err := t.one(sqlUnwritten, with(no, string(volume)), &number, &state)
		if err == nil && !lacks {
			lacks, err = t.one(sqlMissingCopies, with(no, string(volume)), &number)
			state = capstan.CopyMissing
		}
		switch {
		case err != nil:
			return err
		case lacks:
			return fmt.Errorf("volume %s cannot hold all of set %s: archive %d is %s there", volume, id, number, state)
		}
		if err := t.setSums(id, volume, sum, c.now()); err != nil {
			return err
		}
		return t.setDemand(no, volume, capstan.CopyWritten)
	})
}

// AbandonDemand gives up what a volume has yet to get of a set: nobody wants it
// there any more. What is there stays, and is known.
func (c *Catalog) AbandonDemand(ctx context.Context, id capstan.SetID, volume capstan.VolumeID) error {
	return c.write(ctx, "abandon copies", func(t *tx) error {
		no, err := t.setNo(id)
		if err == nil {
			_, err = t.exec(sqlAbandonCopies, unix(c.now()), no, string(volume))
		}
		if err == nil {
			err = t.setDemand(no, volume, capstan.CopyForgotten)
		}
		return err
	})
}

// Demands lists the volumes that a set shall lie on.
func (c *Catalog) Demands(ctx context.Context, id capstan.SetID) ([]capstan.Demand, error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return nil, c.failed(ctx, "demands", err)
	}
	var demands []capstan.Demand
	err = each(ctx, c.reads, sqlDemands, with(row.no), func(rows *sql.Rows) error {
		var d capstan.Demand
		err := rows.Scan(&d.Volume, &d.State)
		demands = append(demands, d)
		return err
	})
	return demands, c.failed(ctx, "demands of set "+string(id), err)
}

// Awaited reports whether a volume has yet to get an archive, or no volume has
// it: its staged file must stay. Nothing of a set that was forgotten is awaited, nor
// of one that was abandoned (failed) but by a volume.
func (c *Catalog) Awaited(ctx context.Context, id capstan.SetID, number capstan.ArchiveNumber) (bool, error) {
	row, err := c.findSet(ctx, id)
	if err == nil && !row.forgotten.IsZero() {
		return false, nil
	}
	var awaited, good bool
	if err == nil {
		awaited, err = one(ctx, c.reads, sqlAwaited, with(row.no, int64(number)), new(int64))
	}
	if err == nil && !awaited {
		good, err = one(ctx, c.reads, sqlGood, with(row.no, int64(number)), new(int64))
	}
	given := err == nil && row.set.Status == capstan.RunFailed // somebody said that it may be lost
	return awaited || !good && !given, c.failed(ctx, "demand of an archive", err)
}

// StageAt gives the id of the stage that was last opened at a location; empty if
// there was none. wanted tells whether a sealed archive of any set still waits for a
// volume, so that something may lie in it.
func (c *Catalog) StageAt(ctx context.Context, location string) (id string, wanted bool, err error) {
	found, err := one(ctx, c.reads, sqlStageAt, with([]byte(location)), &id)
	if err == nil && found {
		wanted, err = one(ctx, c.reads, sqlAnyUnmet, nil, new(int64))
	}
	return id, wanted, c.failed(ctx, "stage at "+location, err)
}

// EnsureStage records which stage lies at a location.
func (c *Catalog) EnsureStage(ctx context.Context, location, id string) error {
	if known, _, err := c.StageAt(ctx, location); err != nil || known == id {
		return err
	}
	return c.write(ctx, "record stage", func(t *tx) error {
		return t.updateOrInsert(sqlUpdateStage, sqlInsertStage, id, []byte(location))
	})
}

// Stages lists where stages lie that archives may wait in, by location.
func (c *Catalog) Stages(ctx context.Context) ([]string, error) {
	var locations []string
	err := each(ctx, c.reads, sqlStages, nil, func(rows *sql.Rows) error {
		var location []byte
		err := rows.Scan(&location)
		locations = append(locations, string(location))
		return err
	})
	return locations, c.failed(ctx, "stages", err)
}
