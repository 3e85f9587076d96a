package catalog

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"capstan"
)

// PlanArchive gives the next archive of a set its number and name, before its
// first byte, with a copy in state packing for each volume.
func (c *Catalog) PlanArchive(ctx context.Context, id capstan.SetID, codec capstan.Codec, volumes ...capstan.VolumeID) (capstan.Archive, error) {
	archive := capstan.Archive{Set: id, Codec: codec}
	err := c.write(ctx, "plan an archive of set "+string(id), func(t *tx) error {
		row, err := t.openRow(id)
		if err != nil {
			return err
		}
		no := row.no
		if _, err := t.one(sqlNextArchive, with(no), &archive.Number); err != nil {
			return err
		}
		archive.Name = row.set.ArchiveName(archive.Number, codec)
		if err := t.insertArchive(no, &archive, false); err != nil {
			return err
		}
		for _, volume := range volumes {
			if err := t.setCopy(no, archive.Number, volume, capstan.CopyPacking, "", c.now()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return capstan.Archive{}, err
	}
	return archive, nil
}

// openSet gives the number of a set that may still get archives.
func (t *tx) openSet(id capstan.SetID) (int64, error) {
	row, err := t.openRow(id)
	return row.no, err
}

// openRow gives the row of a set that may still get archives.
func (t *tx) openRow(id capstan.SetID) (setRow, error) {
	sets, err := readSets(t.ctx, t, sqlSet, string(id))
	if err != nil {
		return setRow{}, err
	}
	if len(sets) == 0 {
		return setRow{}, unknownSet(id)
	}
	if status := sets[0].set.Status; finishedStatus(status) {
		return setRow{}, finishedSet(id, status)
	}
	return sets[0], nil
}

func finishedSet(id capstan.SetID, status capstan.RunStatus) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: "set", Object: string(id), Err: fmt.Errorf("it is %s", status),
		Safe: "nothing was changed",
	}
}

func (t *tx) insertArchive(no int64, a *capstan.Archive, committed bool) error {
	_, err := t.exec(sqlInsertArchive, no, truth(committed), int64(a.Number), a.Name, string(a.Codec), a.Entries, a.TarSize, a.Size, a.Hash[:])
	return err
}

// CommitArchive records that an archive is durable, on the volumes, where its
// copies are then written, or in the stage, where they are queued for them. In
// the same transaction goes every entry that was added to the set's open
// EntryWriter before the call; the archive's entries can be seen from then on.
// The caller has made the archive durable before.
//
// It may be repeated, also for other volumes. An archive that was not planned,
// or that was committed with other content, is an error. When ctx ends first,
// the commit may still happen; DiscardUnsealed later tells. Where a lease of the
// fences is not held any more, nothing changes: capstan.ErrLeaseLost.
func (c *Catalog) CommitArchive(ctx context.Context, archive capstan.Archive, state capstan.CopyState, volumes []capstan.VolumeID, fences ...Fence) error {
	commit := func(t *tx) error {
		if err := t.fenced(fences); err != nil {
			return err
		}
		return c.commitArchive(t, archive, state, volumes)
	}
	c.mu.Lock()
	w := c.writers[archive.Set]
	c.mu.Unlock()
	if w != nil {
		err := w.finish(ctx, commit)
		if !errors.Is(err, errWriterClosed) {
			return err
		}
		if err := w.ended(ctx); err != nil {
			return err
		}
	}
	return c.write(ctx, "commit archive "+archive.Name, commit)
}

// CommitCopy records that a volume has an archive that is committed. It waits for
// no EntryWriter, and its failure is none of the set's. It may be repeated. Where a
// lease of the fences is not held any more, nothing changes: capstan.ErrLeaseLost.
func (c *Catalog) CommitCopy(ctx context.Context, archive capstan.Archive, volume capstan.VolumeID, fences ...Fence) error {
	return c.write(ctx, "commit a copy of "+archive.Name, func(t *tx) error {
		if err := t.fenced(fences); err != nil {
			return err
		}
		no, err := t.setNo(archive.Set)
		if err == nil {
			err = t.requireArchive(no, &archive)
		}
		if err != nil {
			return err
		}
		return t.setCopy(no, archive.Number, volume, capstan.CopyWritten, "", c.now())
	})
}

func (c *Catalog) commitArchive(t *tx, a capstan.Archive, state capstan.CopyState, volumes []capstan.VolumeID) error {
	no, err := t.setNo(a.Set)
	if err != nil {
		return err
	}
	touched, err := t.exec(sqlCommitArchive, a.Entries, a.TarSize, a.Size, a.Hash[:], no, int64(a.Number))
	if err != nil {
		return err
	}
	if touched == 0 {
		if err := t.requireArchive(no, &a); err != nil {
			return err
		}
	}
	for _, volume := range volumes {
		if err := t.setCopy(no, a.Number, volume, state, "", c.now()); err != nil {
			return err
		}
	}
	return nil
}

// requireArchive fails unless the archive is committed with the same content.
func (t *tx) requireArchive(no int64, a *capstan.Archive) error {
	var committed, size int64
	var name string
	var hash []byte
	found, err := t.one(sqlArchiveKnown, with(no, int64(a.Number)), &committed, &name, &size, &hash)
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("archive %d of set %s was not planned", a.Number, a.Set)
	case committed != 1 || size != a.Size || !bytes.Equal(hash, a.Hash[:]):
		return fmt.Errorf("archive %d of set %s is in the catalog with other content", a.Number, a.Set)
	}
	return nil
}

// SetCopy records the state of one archive on one volume; problem says why it is
// failed, damaged or missing. State verified also sets the time of verification.
// Where a lease of the fences is not held any more, nothing changes:
// capstan.ErrLeaseLost.
func (c *Catalog) SetCopy(ctx context.Context, id capstan.SetID, number capstan.ArchiveNumber, volume capstan.VolumeID, state capstan.CopyState, problem string, now time.Time, fences ...Fence) error {
	return c.write(ctx, "record a copy", func(t *tx) error {
		if err := t.fenced(fences); err != nil {
			return err
		}
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		return t.setCopy(no, number, volume, state, problem, now)
	})
}

func (t *tx) setCopy(no int64, number capstan.ArchiveNumber, volume capstan.VolumeID, state capstan.CopyState, problem string, now time.Time) error {
	err := t.updateOrInsert(sqlUpdateCopy, sqlInsertCopy, string(state), unix(now), problem, no, int64(number), string(volume))
	if isDangling(err) {
		return &capstan.Error{
			Class: capstan.ErrNotFound, Op: "copy", Object: fmt.Sprintf("archive %d on volume %s", number, volume),
			Err: errors.New("the catalog does not know the archive or the volume"),
		}
	}
	if err == nil && state == capstan.CopyVerified {
		_, err = t.exec(sqlCopyVerified, unix(now), no, int64(number), string(volume))
	}
	return err
}

// Archives lists the committed archives of a set by number.
func (c *Catalog) Archives(ctx context.Context, id capstan.SetID) ([]capstan.Archive, error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return nil, c.failed(ctx, "archives", err)
	}
	archives, err := c.archives(ctx, id, sqlArchives, row.no)
	return archives, c.failed(ctx, "archives of set "+string(id), err)
}

// Archive gives one committed archive; capstan.ErrNotFound if there is none.
func (c *Catalog) Archive(ctx context.Context, id capstan.SetID, number capstan.ArchiveNumber) (capstan.Archive, error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return capstan.Archive{}, c.failed(ctx, "archive", err)
	}
	archives, err := c.archives(ctx, id, sqlArchive, row.no, int64(number))
	if err == nil && len(archives) == 0 {
		err = &capstan.Error{
			Class: capstan.ErrNotFound, Op: "archive", Object: fmt.Sprintf("%d of set %s", number, id),
			Err: errors.New("the catalog does not know it"),
		}
	}
	if err != nil {
		return capstan.Archive{}, c.failed(ctx, fmt.Sprintf("archive %d of set %s", number, id), err)
	}
	return archives[0], nil
}

func (c *Catalog) archives(ctx context.Context, id capstan.SetID, query string, args ...any) ([]capstan.Archive, error) {
	var archives []capstan.Archive
	err := each(ctx, c.reads, query, args, func(rows *sql.Rows) error {
		a := capstan.Archive{Set: id}
		var hash []byte
		err := rows.Scan(&a.Number, &a.Name, &a.Codec, &a.Entries, &a.TarSize, &a.Size, &hash)
		if err == nil {
			a.Hash, err = toHash(hash)
		}
		archives = append(archives, a)
		return err
	})
	return archives, err
}

// Copies lists the copies of a set's archives, by number and volume, in whatever
// state, also of archives that are not committed.
func (c *Catalog) Copies(ctx context.Context, id capstan.SetID) ([]capstan.Copy, error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return nil, c.failed(ctx, "copies", err)
	}
	copies, err := c.copies(ctx, id, sqlCopies, row.no)
	return copies, c.failed(ctx, "copies of set "+string(id), err)
}

// CopiesOf lists the copies of one archive by volume, in whatever state.
func (c *Catalog) CopiesOf(ctx context.Context, id capstan.SetID, number capstan.ArchiveNumber) ([]capstan.Copy, error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return nil, c.failed(ctx, "copies", err)
	}
	copies, err := c.copies(ctx, id, sqlCopiesOf, row.no, int64(number))
	return copies, c.failed(ctx, fmt.Sprintf("copies of archive %d of set %s", number, id), err)
}

func (c *Catalog) copies(ctx context.Context, id capstan.SetID, query string, args ...any) (copies []capstan.Copy, err error) {
	err = each(ctx, c.reads, query, args, func(rows *sql.Rows) error {
		copied, err := scanCopy(rows)
		copied.Set = id
		copies = append(copies, copied)
		return err
	})
	return copies, err
}

func scanCopy(rows *sql.Rows) (c capstan.Copy, err error) {
	var changed, verified, retry int64
	err = rows.Scan(&c.Number, &c.Volume, &c.State, &changed, &verified, &c.Attempts, &retry, &c.Problem)
	c.Changed, c.Verified, c.Retry = fromUnix(changed), fromUnix(verified), fromUnix(retry)
	return c, err
}
