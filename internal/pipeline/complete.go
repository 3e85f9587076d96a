package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"path/filepath"

	"capstan"
	"capstan/internal/manifest"
)

// complete writes what makes a directory of archives a set that tells its own
// content: manifest, deletions, a copy of the catalog, RESTORE.txt, sums and
// signature, in this order; the sums come last, so a set that has them is whole.
func (r *backupRun) complete(ctx context.Context) error {
	stage := r.Tracker.Stage(stageComplete)
	stage.Begin()
	defer stage.End()
	archives, err := r.Catalog.Archives(ctx, r.set.ID)
	if err != nil {
		return err
	}
	counts, _, _ := r.tally.read()
	set := r.set
	set.Counts, set.Finished, set.Status = counts, r.Now(), capstan.RunComplete
	if counts.Failed > 0 {
		set.Status = capstan.RunPartial
	}
	sums := make([]manifest.Sum, 0, len(archives)+4)
	for _, a := range archives {
		sums = append(sums, manifest.Sum{Name: a.Name, Hash: a.Hash})
	}
	deleted := false
	for _, err := range r.deletions(ctx) {
		if err != nil {
			return err
		}
		deleted = true
		break
	}
	guide := manifest.Guide{Set: set, Archives: archives, Deleted: deleted}
	if r.before != nil {
		for _, earlier := range r.before.Chain {
			guide.Chain = append(guide.Chain, earlier.ID)
		}
	}
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{manifest.Name, func(w io.Writer) error { return manifest.Write(w, set, archives, r.manifestEntries(ctx, &guide)) }},
		{manifest.DeletedName, func(w io.Writer) error { return r.writeDeleted(ctx, w) }},
		{manifest.CatalogName, func(w io.Writer) error { return r.writeCatalog(ctx, w) }},
		{manifest.GuideName, func(w io.Writer) error { return guide.Write(w) }},
	} {
		if file.name == manifest.DeletedName && !deleted {
			continue
		}
		stage.Object(file.name)
		sum, err := r.setFile(ctx, file.name, file.write)
		if err != nil {
			return err
		}
		sums = append(sums, manifest.Sum{Name: file.name, Hash: sum})
		stage.Moved(0, 1)
	}
	return r.sign(ctx, sums)
}

// setFile writes one small file of the set durably and gives its hash.
func (r *backupRun) setFile(ctx context.Context, name string, write func(io.Writer) error) (capstan.Hash, error) {
	file, err := r.Volume.Create(ctx, r.set.ID, name)
	if err != nil {
		return capstan.Hash{}, fmt.Errorf("%s of set %s: %w", name, r.set.ID, err)
	}
	hashed := &hashWriter{out: file, sum: sha256.New()}
	if err = write(hashed); err == nil {
		err = file.Commit(ctx)
	} else {
		err = errors.Join(err, file.Abort())
	}
	if err != nil {
		return capstan.Hash{}, fmt.Errorf("%s of set %s: %w", name, r.set.ID, err)
	}
	r.tally.file(hashed.n)
	return capstan.Hash(hashed.sum.Sum(nil)), nil
}

// sign writes the sums, and the signature that ties them to the set before.
func (r *backupRun) sign(ctx context.Context, sums []manifest.Sum) error {
	var text bytes.Buffer
	if err := manifest.WriteSums(&text, sums); err != nil {
		return err
	}
	sum, err := r.setFile(ctx, manifest.SumsName, func(w io.Writer) error {
		_, err := w.Write(text.Bytes())
		return err
	})
	if err != nil {
		return err
	}
	volume := r.Volume.Info().ID
	previous, previousSum, err := r.Catalog.LastSums(ctx, volume, r.set.ID)
	if err != nil {
		return err
	}
	signature, err := r.Key.Sign(manifest.Statement{
		Set: r.set.ID, Sums: sum, Previous: previous, PreviousSums: previousSum, Time: r.Now(),
	})
	if err != nil {
		return err
	}
	if _, err := r.setFile(ctx, manifest.SignatureName, func(w io.Writer) error {
		_, err := w.Write(signature)
		return err
	}); err != nil {
		return err
	}
	return r.Catalog.SetSums(ctx, r.set.ID, volume, sum)
}

// manifestEntries are the set's entries on their way into the manifest; the
// guide learns from them what it has to explain.
func (r *backupRun) manifestEntries(ctx context.Context, guide *manifest.Guide) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		for entry, err := range r.Catalog.Walk(ctx, r.set.ID, "") {
			if err == nil {
				guide.See(&entry)
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

func (r *backupRun) writeDeleted(ctx context.Context, w io.Writer) error {
	deleted := manifest.NewDeletedWriter(w)
	for path, err := range r.deletions(ctx) {
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
func (r *backupRun) writeCatalog(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(r.Catalog.Path()), "copy-")
	if err != nil {
		return fmt.Errorf("copy of the catalog: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, manifest.CatalogName)
	if err := r.Catalog.CopyTo(ctx, path, false); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("copy of the catalog: %w", err)
	}
	_, err = io.Copy(w, file)
	return errors.Join(err, file.Close())
}

// hashWriter passes bytes on, hashing and counting them.
type hashWriter struct {
	out io.Writer
	sum hash.Hash
	n   int64
}

func (h *hashWriter) Write(p []byte) (int, error) {
	n, err := h.out.Write(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	return n, err
}
