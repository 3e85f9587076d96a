package catalog

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"capstan"
)

// importChunk is how many entries are handed to the writer at once.
const importChunk = 1024

// Import records a set that a volume tells of: the set, its archives, each with
// a copy in state written on the volume, and its entries. Nobody sees the set
// before it is whole; what an interrupted Import left is replaced. It reports
// false, without reading entries, when the catalog holds the set already: then
// only the copies on this volume are added, where they are not known. A set of
// the same id with other archives is capstan.ErrRefused. A set that was forgotten is
// left alone while a volume is still to lose it, and reported false; when none is,
// it is imported like an unknown one.
//
// The volume must be known. The job is recorded if need be.
func (c *Catalog) Import(ctx context.Context, set capstan.Set, archives []capstan.Archive, volume capstan.VolumeID, entries iter.Seq2[capstan.Entry, error]) (imported bool, err error) {
	imported, err = c.importSet(ctx, set, archives, volume, entries)
	return imported, c.failed(ctx, "import set "+string(set.ID), err)
}

func (c *Catalog) importSet(ctx context.Context, set capstan.Set, archives []capstan.Archive, volume capstan.VolumeID, entries iter.Seq2[capstan.Entry, error]) (imported bool, err error) {
	if _, err := capstan.ParseSetID(string(set.ID)); err != nil {
		return false, err
	}
	if c.readOnly {
		return false, c.refuseWrite()
	}
	if _, err := c.Volume(ctx, volume); err != nil {
		return false, err
	}
	unlock, err := c.lockFile(ctx, "import")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	old, known, err := anyPhase(ctx, c.reads, set.ID)
	switch {
	case err != nil:
		return false, err
	case known && old.forgotten != 0:
		if gone, err := c.retire(ctx, old); err != nil || !gone {
			return false, err
		}
	case known && old.phase == phaseThere:
		return false, c.addCopies(ctx, set.ID, archives, volume)
	case known: // half deleted, or half imported, which the lock says nobody goes on with
		if err := c.purge(ctx, old.no); err != nil {
			return false, err
		}
	}
	if err := c.sweep(ctx); err != nil {
		return false, err
	}
	err = c.transact(ctx, func(t *tx) error { return t.beginImport(&set, archives, unix(c.now())) })
	if err != nil {
		return false, err
	}
	w := c.startWriter(ctx, set.ID, phaseImporting)
	err = addAll(ctx, w, entries)
	if err == nil {
		err = w.finish(ctx, func(t *tx) error { return c.endImport(t, set.ID, archives, volume) })
	}
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	return err == nil, err
}

// retire takes the row of a forgotten set away, if it is no longer needed to remove
// the set's bytes; it reports whether it did.
func (c *Catalog) retire(ctx context.Context, set setPhase) (gone bool, err error) {
	if set.phase == phaseDeleting {
		err = c.purge(ctx, set.no)
		set.phase = phaseForgotten
	}
	if err != nil || set.phase != phaseForgotten {
		return false, err
	}
	err = c.transact(ctx, func(t *tx) error {
		held, err := t.one(sqlDemands, with(set.no), new(string), new(string))
		if err != nil || held {
			return err
		}
		gone = true
		return t.removeSetRow(set.no)
	})
	return gone && err == nil, err
}

func (t *tx) beginImport(set *capstan.Set, archives []capstan.Archive, now int64) error {
	sources, err := encodeList(set.Sources)
	if err != nil {
		return err
	}
	if _, err := t.exec(sqlEnsureJob, string(set.Job), sources, "[]", now, string(set.Job)); err != nil {
		return err
	}
	if set.ID.Number() < maxKept {
		if err := t.keepNumber(set.ID); err != nil {
			return err
		}
	}
	no, err := t.insertSet(set, phaseImporting)
	if err != nil {
		return err
	}
	for i := range archives {
		if err := t.insertArchive(no, &archives[i], true); err != nil {
			return err
		}
	}
	return nil
}

func addAll(ctx context.Context, w *EntryWriter, entries iter.Seq2[capstan.Entry, error]) error {
	chunk := make([]capstan.Entry, 0, importChunk)
	for entry, err := range entries {
		if err != nil {
			return err
		}
		if chunk = append(chunk, entry); len(chunk) == importChunk {
			if err := w.Add(ctx, chunk); err != nil {
				return err
			}
			chunk = chunk[:0]
		}
	}
	return w.Add(ctx, chunk)
}

// endImport shows the set to all.
func (c *Catalog) endImport(t *tx, id capstan.SetID, archives []capstan.Archive, volume capstan.VolumeID) error {
	set, _, err := anyPhase(t.ctx, t, id)
	if err != nil {
		return err
	}
	for i := range archives {
		if err := t.setCopy(set.no, archives[i].Number, volume, capstan.CopyWritten, "", c.now()); err != nil {
			return err
		}
	}
	if err := t.setDemand(set.no, volume, capstan.CopyWritten); err != nil {
		return err
	}
	_, err = t.exec(sqlSetPhase, phaseThere, set.no)
	return err
}

// addCopies records the copies on one more volume. Where the catalog knows better of
// one (it failed, was found damaged, was forgotten), that stays, and the demand with it.
func (c *Catalog) addCopies(ctx context.Context, id capstan.SetID, archives []capstan.Archive, volume capstan.VolumeID) error {
	return c.transact(ctx, func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		for i := range archives {
			a := archives[i]
			a.Set = id
			if err := t.requireArchive(no, &a); err != nil {
				return &capstan.Error{
					Class: capstan.ErrRefused, Op: "import set", Object: string(id),
					Err: fmt.Errorf("the catalog holds another set of this id: %w", err), Safe: "nothing was changed",
				}
			}
			found, err := t.one(sqlCopyKnown, with(no, int64(a.Number), string(volume)), new(int64))
			if err != nil {
				return err
			}
			if found {
				continue
			}
			if err := t.setCopy(no, a.Number, volume, capstan.CopyWritten, "", c.now()); err != nil {
				return err
			}
		}
		lacks, err := t.one(sqlUnwritten, with(no, string(volume)), new(int64), new(string))
		if err != nil || lacks {
			return err
		}
		return t.setDemand(no, volume, capstan.CopyWritten)
	})
}
