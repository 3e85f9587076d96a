package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"capstan"
)

// EnsureVolume records a volume, or where it lies now. It may be repeated.
func (c *Catalog) EnsureVolume(ctx context.Context, info capstan.VolumeInfo) error {
	if info.ID == "" {
		return errors.New("a volume without an id cannot be recorded")
	}
	// The one that was seen last at a location is the one that is found there.
	last, found, err := c.VolumeByLocation(ctx, info.Location)
	if err != nil {
		return err
	}
	if found && last.ID == info.ID && last.Location == info.Location && last.Kind == info.Kind && last.Created.Equal(info.Created) {
		return nil
	}
	return c.write(ctx, "record volume", func(t *tx) error {
		err := t.updateOrInsert(sqlUpdateVolume, sqlInsertVolume,
			info.Kind, []byte(info.Location), unix(info.Created), unix(c.now()), string(info.ID))
		if err != nil {
			return err
		}
		return t.updateOrInsert(sqlUpdatePlace, sqlInsertPlace, string(info.ID), []byte(info.Location))
	})
}

// Volumes lists all volumes, oldest first.
func (c *Catalog) Volumes(ctx context.Context) ([]capstan.VolumeInfo, error) {
	volumes, err := c.volumes(ctx, sqlVolumes)
	return volumes, c.failed(ctx, "list volumes", err)
}

// Volume gives one volume; capstan.ErrNotFound if the catalog does not know it.
func (c *Catalog) Volume(ctx context.Context, id capstan.VolumeID) (capstan.VolumeInfo, error) {
	volumes, err := c.volumes(ctx, sqlVolume, string(id))
	if err == nil && len(volumes) == 0 {
		err = &capstan.Error{Class: capstan.ErrNotFound, Op: "volume", Object: string(id), Err: errors.New("the catalog does not know it")}
	}
	if err != nil {
		return capstan.VolumeInfo{}, c.failed(ctx, "volume "+string(id), err)
	}
	return volumes[0], nil
}

// VolumeByLocation gives the volume that was last seen at a location, also when it
// was seen elsewhere since; its info says where it lies now.
func (c *Catalog) VolumeByLocation(ctx context.Context, location string) (info capstan.VolumeInfo, found bool, err error) {
	volumes, err := c.volumes(ctx, sqlVolumesAt, []byte(location))
	if err != nil || len(volumes) == 0 {
		return capstan.VolumeInfo{}, false, c.failed(ctx, "volume at "+location, err)
	}
	return volumes[0], true, nil
}

func (c *Catalog) volumes(ctx context.Context, query string, args ...any) ([]capstan.VolumeInfo, error) {
	var volumes []capstan.VolumeInfo
	err := each(ctx, c.reads, query, args, func(rows *sql.Rows) error {
		var info capstan.VolumeInfo
		var location []byte
		var created int64
		err := rows.Scan(&info.ID, &info.Kind, &location, &created)
		info.Location, info.Created = string(location), fromUnix(created)
		volumes = append(volumes, info)
		return err
	})
	return volumes, err
}

// SetSums records the SHA-256 of a set's SHA256SUMS on a volume, after it is
// durable there. A repetition of the last one is no new one.
func (c *Catalog) SetSums(ctx context.Context, set capstan.SetID, volume capstan.VolumeID, sum capstan.Hash) error {
	return c.write(ctx, "record sums", func(t *tx) error { return t.setSums(set, volume, sum, c.now()) })
}

func (t *tx) setSums(set capstan.SetID, volume capstan.VolumeID, sum capstan.Hash, now time.Time) error {
	known, err := t.one(sqlVolumeLastSet, with(string(volume), string(set), sum[:], string(volume)), new(int64))
	if err != nil || known {
		return err
	}
	_, err = t.exec(sqlInsertSums, string(volume), string(set), sum[:], unix(now))
	return err
}

// LastSums gives what SetSums recorded last of a volume, of another set than the
// given one: the set and the hash that its signature covers. Both are zero when
// there is none.
func (c *Catalog) LastSums(ctx context.Context, volume capstan.VolumeID, but capstan.SetID) (set capstan.SetID, sum capstan.Hash, err error) {
	var hash []byte
	found, err := one(ctx, c.reads, sqlLastSums, with(string(volume), string(but)), &set, &hash)
	if err == nil && found {
		sum, err = toHash(hash)
	}
	return set, sum, c.failed(ctx, "last sums", err)
}

// Sums gives what SetSums recorded last of a set on a volume; found is false when
// that is nothing.
func (c *Catalog) Sums(ctx context.Context, set capstan.SetID, volume capstan.VolumeID) (sum capstan.Hash, found bool, err error) {
	var hash []byte
	found, err = one(ctx, c.reads, sqlSums, with(string(volume), string(set)), &hash)
	if err == nil && found {
		sum, err = toHash(hash)
	}
	return sum, found, c.failed(ctx, "sums of set "+string(set), err)
}

// VolumesOf lists the volumes on which a set was ever finished, the last one first;
// also of a set that the catalog no longer has.
func (c *Catalog) VolumesOf(ctx context.Context, set capstan.SetID) ([]capstan.VolumeID, error) {
	var volumes []capstan.VolumeID
	err := each(ctx, c.reads, sqlSumsVolumes, with(string(set)), func(rows *sql.Rows) error {
		var volume capstan.VolumeID
		err := rows.Scan(&volume)
		volumes = append(volumes, volume)
		return err
	})
	return volumes, c.failed(ctx, "volumes of set "+string(set), err)
}

func toHash(data []byte) (hash capstan.Hash, err error) {
	if len(data) != len(hash) {
		return hash, fmt.Errorf("a hash of %d bytes in the catalog: %w", len(data), capstan.ErrDamaged)
	}
	return capstan.Hash(data), nil
}
