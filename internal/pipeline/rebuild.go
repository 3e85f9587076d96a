package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"capstan"
	"capstan/internal/manifest"
)

// Rebuild reads the manifests of a volume's sets into the catalog and gives the
// sets that it added. Sets that the catalog holds are left as they are; a set
// without sums was not finished and is passed over with a word. A damaged set is
// named, the others are read all the same, and the error is
// capstan.ErrIncomplete.
func (e *Engine) Rebuild(ctx context.Context, volume capstan.Volume) ([]capstan.SetID, error) {
	stage := e.Tracker.Stage("rebuild")
	stage.Begin()
	defer stage.End()
	if err := e.Catalog.EnsureVolume(ctx, volume.Info()); err != nil {
		return nil, err
	}
	sets, err := volume.Sets(ctx)
	if err != nil {
		return nil, err
	}
	var added []capstan.SetID
	bad := 0
	for _, id := range sets {
		stage.Object(string(id))
		imported, err := e.importSet(ctx, volume, id)
		stage.Moved(0, 1)
		switch {
		case err == nil && imported:
			added = append(added, id)
		case err == nil:
		case context.Cause(ctx) != nil:
			return added, context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist):
			e.Say("set %s on %s was not finished (%v): passed over; its own home can resume it", id, volume.Info().Location, err)
		default:
			bad++
			e.Say("set %s on %s cannot be read: %v", id, volume.Info().Location, err)
		}
	}
	if bad > 0 {
		return added, &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "rebuild from", Object: volume.Info().Location,
			Err: fmt.Errorf("%d sets cannot be read", bad), Safe: "the others are in the catalog",
		}
	}
	return added, nil
}

// importSet reads one set's manifest, proven by its sums and signature. It reports
// false when the catalog holds the set already.
func (e *Engine) importSet(ctx context.Context, volume capstan.Volume, id capstan.SetID) (imported bool, err error) {
	own, err := e.readSums(ctx, volume, id)
	if err != nil {
		return false, err
	}
	file, err := volume.Open(ctx, id, manifest.Name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := proveManifest(ctx, file, own.sums); err != nil {
		return false, err
	}
	reader, err := manifest.NewReader(io.NewSectionReader(file, 0, file.Size()))
	if err != nil {
		return false, err
	}
	defer reader.Close()
	set := reader.Set()
	if set.ID != id {
		return false, fmt.Errorf("%w: its manifest is that of set %s", capstan.ErrDamaged, set.ID)
	}
	if set.Status != capstan.RunComplete && set.Status != capstan.RunPartial {
		return false, fmt.Errorf("%w: its manifest says that the set is %s", capstan.ErrDamaged, set.Status)
	}
	if own.stranger {
		e.Say("set %s was signed by another home (key …%s)", id, tail(own.statement.Key))
	}
	return e.Catalog.Import(ctx, set, reader.Archives(), volume.Info().ID, reader.Entries())
}

// proveManifest compares the manifest's bytes with its sum before any of it is
// believed.
func proveManifest(ctx context.Context, file capstan.VolumeReader, sums []manifest.Sum) error {
	for _, sum := range sums {
		if sum.Name != manifest.Name {
			continue
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, io.NewSectionReader(file, 0, file.Size())); err != nil {
			return fmt.Errorf("%s: %w", manifest.Name, err)
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if capstan.Hash(hash.Sum(nil)) != sum.Hash {
			return fmt.Errorf("%w: %s is not the one in %s", capstan.ErrDamaged, manifest.Name, manifest.SumsName)
		}
		return nil
	}
	return fmt.Errorf("%w: %s does not list %s", capstan.ErrDamaged, manifest.SumsName, manifest.Name)
}
