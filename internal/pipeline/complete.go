package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"capstan"
	"capstan/internal/copier"
	"capstan/internal/disk"
	"capstan/internal/envelope"
	"capstan/internal/manifest"
	"capstan/internal/progress"
)

// complete brings the set to its end: on the volume that it was written on, or
// on every volume that gets it from the stage.
func (r *backupRun) complete(ctx context.Context) error {
	stage := r.Tracker.Stage(stageComplete)
	stage.Begin()
	defer stage.End()
	if r.Stage != nil {
		done := stage.Wait(progress.ForStage(copier.StageName(r.Volumes[0].Info)), "all volumes that shall hold the set")
		defer done()
		return r.drain(ctx)
	}
	return r.finishVolume(ctx, r.direct(), func() { stage.Moved(0, 1) })
}

// finishVolume writes the set's own files on one volume, of which the tally
// counts one copy.
func (r *backupRun) finishVolume(ctx context.Context, volume capstan.Volume, beat func()) error {
	r.packed.Do(func() { // the same for all volumes
		r.end = r.set
		r.end.Counts, _, _ = r.tally.read()
		if r.end.Finished.IsZero() {
			r.end.Finished = r.Now()
		}
	})
	set := r.end
	finish := finisher{Engine: r.Engine, set: set, to: r.Recipients, before: r.before, owner: r.owner(), draft: r.draft, beat: beat}
	bytes, err := finish.write(ctx, volume)
	if err == nil {
		r.counted.Do(func() { r.tally.file(int64(bytes)) })
	}
	return err
}

// finisher writes what makes a directory of archives a set that tells its own
// content, on one volume.
type finisher struct {
	*Engine
	set    capstan.Set          // with its counts, and when it was finished
	to     *envelope.Recipients // nil for a set that is not encrypted
	before *View                // of the set that this one builds on; nil for a full set
	owner  string               // with which the set's name is claimed
	draft  *draft               // of the manifest; nil: it is made from the catalog
	beat   func()               // called as it moves
}

// write writes manifest, deletions, a copy of the catalog, RESTORE.txt, sums and
// signature on a volume that has all the archives, in this order; the sums come
// last, so a set that has them is whole. Then the catalog knows that the volume
// holds it. It may be repeated, and gives the bytes that it wrote.
func (f *finisher) write(ctx context.Context, volume capstan.Volume) (bytes capstan.Bytes, err error) {
	if f.set.Encrypted() && f.to == nil {
		return 0, fmt.Errorf("set %s is encrypted, and to whom its manifest shall be was not said", f.set.ID)
	}
	archives, err := f.Catalog.Archives(ctx, f.set.ID)
	if err != nil {
		return 0, err
	}
	if err := f.clear(ctx, volume, archives); err != nil {
		return 0, err
	}
	set := f.set
	set.Status = capstan.RunComplete
	if set.Counts.Failed > 0 {
		set.Status = capstan.RunPartial
	}
	sums := make([]manifest.Sum, 0, len(archives)+4)
	for _, a := range archives {
		sums = append(sums, manifest.Sum{Name: a.Name, Hash: a.Hash})
	}
	deleted := false
	for _, err := range f.deletions(ctx) {
		if err != nil {
			return 0, err
		}
		deleted = true
		break
	}
	guide := manifest.Guide{}
	if f.draft != nil {
		guide = f.draft.guide
	}
	guide.Set, guide.Archives, guide.Deleted = set, archives, deleted
	if f.before != nil {
		for _, earlier := range f.before.Chain {
			guide.Chain = append(guide.Chain, earlier.ID)
		}
	}
	out := &setFiles{volume: volume, set: set.ID}
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{manifest.Name, func(w io.Writer) error { return f.writeManifest(ctx, w, set, archives, &guide) }},
		{manifest.DeletedName, func(w io.Writer) error { return f.writeDeleted(ctx, w) }},
		{manifest.CatalogName, func(w io.Writer) error { return f.writeCatalog(ctx, volume.Info(), w) }},
		{manifest.GuideName, func(w io.Writer) error { return guide.Write(w) }},
	} {
		if file.name == manifest.DeletedName && !deleted {
			continue
		}
		f.beat()
		name, write := encrypting(f.to, file.name, file.write)
		sum, err := out.put(ctx, name, write)
		if err != nil {
			return 0, err
		}
		sums = append(sums, manifest.Sum{Name: name, Hash: sum})
	}
	if set.Encrypted() {
		sum, err := out.put(ctx, manifest.GuideName, guide.WriteClear)
		if err != nil {
			return 0, err
		}
		sums = append(sums, manifest.Sum{Name: manifest.GuideName, Hash: sum})
	}
	return out.bytes, f.sign(ctx, out, sums)
}

// clear removes what lies finished on the volume and is no archive of the set:
// what an earlier end of it left, and archives that were packed again since.
func (f *finisher) clear(ctx context.Context, volume capstan.Volume, archives []capstan.Archive) error {
	known := make(map[string]bool, len(archives))
	for _, a := range archives {
		known[a.Name] = true
	}
	stored, err := volume.List(ctx, f.set.ID)
	if err != nil {
		return err
	}
	var leftovers []string
	for _, file := range stored {
		if !known[file.Name] && madeHere(f.set.ID, file.Name) {
			leftovers = append(leftovers, file.Name)
		}
	}
	if len(leftovers) == 0 {
		return nil
	}
	if err := volume.Remove(ctx, f.set.ID, leftovers...); err != nil {
		return err
	}
	return volume.ClaimSet(ctx, f.set.ID, f.owner) // with its last file the volume gave up the set's name
}

// setFiles writes the small files of one set on one volume.
type setFiles struct {
	volume capstan.Volume
	set    capstan.SetID
	bytes  capstan.Bytes
}

// put writes one small file of the set durably and gives its hash.
func (s *setFiles) put(ctx context.Context, name string, write func(io.Writer) error) (capstan.Hash, error) {
	file, err := s.volume.Create(ctx, s.set, name)
	if err != nil {
		return capstan.Hash{}, fmt.Errorf("%s of set %s: %w", name, s.set, err)
	}
	hashed := &hashWriter{out: file, sum: sha256.New()}
	if err = write(hashed); err == nil {
		err = file.Commit(ctx)
	} else {
		err = errors.Join(err, file.Abort())
	}
	if err != nil {
		return capstan.Hash{}, fmt.Errorf("%s of set %s: %w", name, s.set, err)
	}
	s.bytes += capstan.Bytes(hashed.n)
	return capstan.Hash(hashed.sum.Sum(nil)), nil
}

// sign writes the sums, and the signature that ties them to the set before.
func (f *finisher) sign(ctx context.Context, out *setFiles, sums []manifest.Sum) error {
	var text bytes.Buffer
	if err := manifest.WriteSums(&text, sums); err != nil {
		return err
	}
	sum, err := out.put(ctx, manifest.SumsName, func(w io.Writer) error {
		_, err := w.Write(text.Bytes())
		return err
	})
	if err != nil {
		return err
	}
	volume := out.volume.Info().ID
	previous, previousSum, err := f.Catalog.LastSums(ctx, volume, f.set.ID)
	if err != nil {
		return err
	}
	signature, err := f.Key.Sign(manifest.Statement{
		Set: f.set.ID, Sums: sum, Previous: previous, PreviousSums: previousSum, Time: f.Now(),
	})
	if err != nil {
		return err
	}
	if _, err := out.put(ctx, manifest.SignatureName, func(w io.Writer) error {
		_, err := w.Write(signature)
		return err
	}); err != nil {
		return err
	}
	return f.Catalog.MeetDemand(ctx, f.set.ID, volume, sum)
}

// writeManifest takes the entries from the draft, or from the catalog.
func (f *finisher) writeManifest(ctx context.Context, w io.Writer, set capstan.Set, archives []capstan.Archive, guide *manifest.Guide) error {
	if f.draft != nil {
		return f.draft.write(w, set, archives)
	}
	return manifest.Write(w, set, archives, f.manifestEntries(ctx, guide))
}

// manifestEntries are the set's entries on their way into the manifest; the
// guide learns from them what it has to explain.
func (f *finisher) manifestEntries(ctx context.Context, guide *manifest.Guide) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		for entry, err := range f.Catalog.Walk(ctx, f.set.ID, "") {
			f.beat()
			if err == nil {
				guide.See(&entry)
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

func (f *finisher) writeDeleted(ctx context.Context, w io.Writer) error {
	deleted := manifest.NewDeletedWriter(w)
	for path, err := range f.deletions(ctx) {
		if err != nil {
			return err
		}
		if err := deleted.Add(path); err != nil {
			return err
		}
	}
	return deleted.Close()
}

// writeCatalog puts a copy of the catalog, without entries, beside the archives.
// It is made in the home, under a name that no other set has and no other volume:
// what a kill leaves there is removed by the next attempt, and since no attempt
// follows a complete set, the removal must outlast a loss of power.
func (f *finisher) writeCatalog(ctx context.Context, volume capstan.VolumeInfo, w io.Writer) (err error) {
	home := filepath.Dir(f.Catalog.Path())
	dir := filepath.Join(home, fmt.Sprintf("copy-%s-%s", f.set.ID, volume.ID))
	err = os.RemoveAll(dir)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("copy of the catalog: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), disk.FS{}.SyncDir(home)) }()
	path := filepath.Join(dir, manifest.CatalogName)
	if err := f.Catalog.CopyTo(ctx, path, false); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("copy of the catalog: %w", err)
	}
	_, err = io.Copy(w, file)
	return errors.Join(err, file.Close())
}
