package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"capstan"
	"capstan/internal/envelope"
	"capstan/internal/manifest"
)

// Rebuild reads the manifests of a volume's sets into the catalog and gives the
// sets that it added. Sets that the catalog holds are left as they are; a set
// without sums was not finished and is passed over with a word. A damaged set is
// named, the others are read all the same, and the error is
// capstan.ErrIncomplete; if nothing is damaged, but a set is encrypted and no key
// opens it, capstan.ErrWrongKey.
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
	bad, locked := 0, 0
	var wrong error
	for _, id := range sets {
		stage.Object(string(id))
		imported, err := e.importSet(ctx, volume, id)
		stage.Moved(0, 1)
		switch {
		case err == nil && imported:
			added = append(added, id)
		case err == nil:
			if _, forgotten, _ := e.Catalog.WasForgotten(ctx, id); forgotten {
				e.Say("set %s on %s was forgotten, and is about to be removed: passed over", id, volume.Info().Location)
			}
		case context.Cause(ctx) != nil:
			return added, context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist):
			e.Say("set %s on %s was not finished (%v): passed over; its own home can resume it", id, volume.Info().Location, err)
		case errors.Is(err, capstan.ErrWrongKey) && e.knows(ctx, id):
			e.Say("set %s on %s is in the catalog already; its manifest was not read: %v", id, volume.Info().Location, err)
		case errors.Is(err, capstan.ErrWrongKey):
			locked, wrong = locked+1, err
			e.Say("set %s on %s: %v", id, volume.Info().Location, err)
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
	if locked > 1 {
		e.Say("%d sets are encrypted to keys that were not given", locked)
	}
	return added, wrong
}

// importSet reads one set's manifest, proven by its sums and signature. It reports
// false when the catalog holds the set already.
func (e *Engine) importSet(ctx context.Context, volume capstan.Volume, id capstan.SetID) (imported bool, err error) {
	own, err := e.readSums(ctx, volume, id)
	if err != nil {
		return false, err
	}
	reader, closeAll, err := e.openManifest(ctx, volume, id, own.sums)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
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
	imported, err = e.Catalog.Import(ctx, set, reader.Archives(), volume.Info().ID, reader.Entries())
	if err != nil || own.stranger {
		return imported, err
	}
	return imported, e.keepSums(ctx, id, volume.Info().ID, own.statement.Sums)
}

// knows reports whether the catalog holds a set.
func (e *Engine) knows(ctx context.Context, id capstan.SetID) bool {
	_, err := e.Catalog.Set(ctx, id)
	return err == nil
}

// keepSums records the sums of a set of this home's own on a volume, so that the
// next set is signed after it. One that is older than what the catalog knows there
// has been followed already.
func (e *Engine) keepSums(ctx context.Context, id capstan.SetID, volume capstan.VolumeID, sum capstan.Hash) error {
	last, _, err := e.Catalog.LastSums(ctx, volume, "")
	if err != nil || last >= id {
		return err
	}
	return e.Catalog.SetSums(ctx, id, volume, sum)
}

// openManifest reads the beginning of a set's manifest, in the clear or encrypted,
// after its bytes were proven. The caller calls closeAll when the error is nil.
func (e *Engine) openManifest(ctx context.Context, volume capstan.Volume, id capstan.SetID, sums []manifest.Sum) (_ *manifest.Reader, closeAll func() error, err error) {
	sum, found := findSum(sums, manifest.Name)
	if !found {
		sum, found = findSum(sums, manifest.Name+envelope.Suffix)
	}
	if !found {
		return nil, nil, fmt.Errorf("%w: %s does not list %s", capstan.ErrDamaged, manifest.SumsName, manifest.Name)
	}
	file, err := volume.Open(ctx, id, sum.Name)
	if err != nil {
		return nil, nil, err
	}
	var content io.Reader
	if err = proveManifest(ctx, file, sum); err == nil {
		content = io.NewSectionReader(file, 0, file.Size())
		if sum.Name != manifest.Name {
			content, err = e.Identities.Reader(content)
			err = e.locked(ctx, id, err)
		}
	}
	var reader *manifest.Reader
	if err == nil {
		reader, err = manifest.NewReader(content)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return reader, func() error {
		reader.Close()
		return file.Close()
	}, nil
}

func findSum(sums []manifest.Sum, name string) (manifest.Sum, bool) {
	for _, sum := range sums {
		if sum.Name == name {
			return sum, true
		}
	}
	return manifest.Sum{}, false
}

// proveManifest compares the manifest's bytes with its sum before any of it is
// believed.
func proveManifest(ctx context.Context, file capstan.VolumeReader, sum manifest.Sum) error {
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(file, 0, file.Size())); err != nil {
		return fmt.Errorf("%s: %w", sum.Name, err)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if capstan.Hash(hash.Sum(nil)) != sum.Hash {
		return fmt.Errorf("%w: %s is not the one in %s", capstan.ErrDamaged, sum.Name, manifest.SumsName)
	}
	return nil
}
