package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"capstan"
)

// Rotation is a set on its way to other recipients: until it is ended, each file of
// the set on a volume is either the old one or the one that a Rewrap describes, and
// what the catalog says of its archives is about the old ones.
type Rotation struct {
	Recipients []string // the new ones; empty: there is no rotation
	Rewraps    []Rewrap // by volume and name
}

// Rewrap is what becomes of one file on one volume.
type Rewrap struct {
	Volume capstan.VolumeID
	Name   string
	Header []byte // the beginning of the new file, or a note of the rotation's own
	Size   int64
	Hash   capstan.Hash // of the new file; zero: it does not bear its name yet
}

// Find gives the row of a file.
func (r *Rotation) Find(volume capstan.VolumeID, name string) (Rewrap, bool) {
	i := slices.IndexFunc(r.Rewraps, func(w Rewrap) bool { return w.Volume == volume && w.Name == name })
	if i < 0 {
		return Rewrap{}, false
	}
	return r.Rewraps[i], true
}

// BeginRotation records that the files of a set are about to get other recipients.
// It may be repeated with the same ones; while a rotation to others is open, it is
// capstan.ErrRefused.
func (c *Catalog) BeginRotation(ctx context.Context, id capstan.SetID, recipients []string) error {
	return c.write(ctx, "begin rotation of set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		open, err := readRotation(t.ctx, t, no)
		if err != nil {
			return err
		}
		if len(open) > 0 {
			if !slices.Equal(open, recipients) {
				return &capstan.Error{
					Class: capstan.ErrRefused, Op: "rotate set", Object: string(id), Err: errors.New("a rotation to other recipients is not finished"),
					Safe: "nothing was changed", Next: "finish that one first, with the recipients that it began with",
				}
			}
			return nil
		}
		list, err := encodeList(recipients)
		if err == nil {
			_, err = t.exec(sqlInsertRotation, no, list)
		}
		return err
	})
}

// Rotation gives the open rotation of a set; the zero one if there is none.
func (c *Catalog) Rotation(ctx context.Context, id capstan.SetID) (Rotation, error) {
	row, err := c.findSet(ctx, id)
	var r Rotation
	if err == nil {
		r.Recipients, err = readRotation(ctx, c.reads, row.no)
	}
	if err == nil && len(r.Recipients) > 0 {
		err = each(ctx, c.reads, sqlRewraps, with(row.no), func(rows *sql.Rows) error {
			var w Rewrap
			var hash []byte
			err := rows.Scan(&w.Volume, &w.Name, &w.Header, &w.Size, &hash)
			if err == nil && len(hash) > 0 {
				w.Hash, err = toHash(hash)
			}
			r.Rewraps = append(r.Rewraps, w)
			return err
		})
	}
	return r, c.failed(ctx, "rotation of set "+string(id), err)
}

func readRotation(ctx context.Context, from queries, no int64) (recipients []string, err error) {
	var list string
	found, err := one(ctx, from, sqlRotation, with(no), &list)
	if err != nil || !found {
		return nil, err
	}
	return decodeList(list)
}

// PlanRewrap records what is about to become of a file, before it does; once
// without a hash, and once with it when the new file is written and before it bears
// its name.
func (c *Catalog) PlanRewrap(ctx context.Context, id capstan.SetID, w Rewrap) error {
	return c.write(ctx, "plan a rewrap in set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		hash := w.Hash[:]
		if w.Hash.IsZero() {
			hash = []byte{}
		}
		return t.updateOrInsert(sqlUpdateRewrap, sqlInsertRewrap, w.Header, w.Size, hash, no, string(w.Volume), w.Name)
	})
}

// DropRewrap takes a plan back: the file stays as it is.
func (c *Catalog) DropRewrap(ctx context.Context, id capstan.SetID, volume capstan.VolumeID, name string) error {
	return c.write(ctx, "drop a rewrap in set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err == nil {
			_, err = t.exec(sqlDeleteRewrap, no, string(volume), name)
		}
		return err
	})
}

// EndRotation makes the set's new files what the catalog says of it, in one
// transaction: recipients, size and hash of archives, and the sums on each volume.
// The caller has made all of them durable before. Copies that were verified are
// written ones then: nobody has read the new files back.
func (c *Catalog) EndRotation(ctx context.Context, id capstan.SetID, sums map[capstan.VolumeID]capstan.Hash) error {
	r, err := c.Rotation(ctx, id)
	if err != nil {
		return err
	}
	if len(r.Recipients) == 0 {
		return fmt.Errorf("set %s is in no rotation", id)
	}
	list, err := encodeList(r.Recipients)
	if err != nil {
		return err
	}
	return c.write(ctx, "end rotation of set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		now := unix(c.now())
		for _, w := range r.Rewraps {
			if _, _, _, ok := capstan.ParseArchiveName(w.Name); !ok || w.Hash.IsZero() {
				continue
			}
			if _, err := t.exec(sqlRotateArchives, w.Size, w.Hash[:], no, w.Name); err != nil {
				return err
			}
			if _, err := t.exec(sqlRotateCopies, now, no, string(w.Volume), no, w.Name); err != nil {
				return err
			}
		}
		for volume, sum := range sums {
			if _, err := t.exec(sqlRotateSums, sum[:], string(volume), string(id)); err != nil {
				return err
			}
		}
		if _, err := t.exec(sqlSetEncrypted, list, no); err != nil {
			return err
		}
		for _, query := range []string{sqlDeleteRewraps, sqlDeleteRotation} {
			if _, err := t.exec(query, no); err != nil {
				return err
			}
		}
		_, err = t.exec(sqlInsertAudit, now, "rotate", string(id), list)
		return err
	})
}
