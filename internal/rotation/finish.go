package rotation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"capstan"
	"capstan/internal/envelope"
	"capstan/internal/manifest"
)

// made is a file that is written and does not bear its name yet.
type made struct {
	name string
	file capstan.VolumeFile
	sum  capstan.Hash
}

// finish writes what the set says of itself anew, and the signature of the set that
// was signed after it. It gives the hash of the new sums. All is written before any
// of it is put in its place, so that old and new stand side by side for as short as
// can be.
func (v *volume) finish(ctx context.Context) (capstan.Hash, error) {
	files, sum, err := v.prepare(ctx)
	if err != nil {
		return sum, errors.Join(err, abort(files))
	}
	known, err := v.tried(ctx, sum)
	if err != nil {
		return sum, errors.Join(err, abort(files))
	}
	for i, m := range files {
		if err := m.file.Commit(ctx); err != nil {
			return sum, errors.Join(fmt.Errorf("%s: %w", m.name, err), abort(files[i+1:]))
		}
		v.run.summary.Files++
	}
	return sum, v.signNext(ctx, sum, known)
}

func abort(files []made) error {
	var errs []error
	for _, m := range files {
		errs = append(errs, m.file.Abort())
	}
	return errors.Join(errs...)
}

// prepare writes manifest and guides, the sums over all, and the signature, in the
// order in which they are put in their places.
func (v *volume) prepare(ctx context.Context) (files []made, sum capstan.Hash, err error) {
	r := v.run
	set, archives := r.set, r.next()
	set.Recipients = r.to.Strings()
	guide := manifest.Guide{Set: set, Archives: archives, Chain: r.chain, Deleted: v.lists(manifest.DeletedName + envelope.Suffix)}
	seal := func(write func(io.Writer) error) func(io.Writer) error {
		return func(w io.Writer) error {
			stream, err := r.to.Writer(w)
			if err == nil {
				err = write(stream)
			}
			if err != nil {
				return err
			}
			return stream.Close()
		}
	}
	add := func(name string, write func(io.Writer) error) {
		if err != nil {
			return
		}
		var m made
		if m, err = v.make(ctx, name, write); err == nil {
			files = append(files, m)
		}
	}
	add(manifest.Name+envelope.Suffix, seal(func(w io.Writer) error {
		return manifest.Write(w, set, archives, r.entries(ctx, &guide))
	}))
	add(manifest.GuideName+envelope.Suffix, seal(guide.Write))
	add(manifest.GuideName, guide.WriteClear)
	if err != nil {
		return files, sum, err
	}
	var text bytes.Buffer
	if err := manifest.WriteSums(&text, v.newSums(files)); err != nil {
		return files, sum, err
	}
	add(manifest.SumsName, whole(text.Bytes()))
	if err != nil {
		return files, sum, err
	}
	sum = files[len(files)-1].sum
	statement := v.statement
	statement.Sums = sum
	signature, err := v.sign(ctx, statement)
	add(manifest.SignatureName, whole(signature))
	return files, sum, err
}

// whole writes what is in memory already.
func whole(text []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
}

// lists reports whether the set has a file of that name on the volume.
func (v *volume) lists(name string) bool {
	return slices.ContainsFunc(v.sums, func(s manifest.Sum) bool { return s.Name == name })
}

// newSums are the old sums with the hashes of the new files.
func (v *volume) newSums(files []made) []manifest.Sum {
	sums := slices.Clone(v.sums)
	for i := range sums {
		if w, ok := v.run.open.Find(v.Info().ID, sums[i].Name); ok && !w.Hash.IsZero() {
			sums[i].Hash = w.Hash
		}
		for _, m := range files {
			if m.name == sums[i].Name {
				sums[i].Hash = m.sum
			}
		}
	}
	return sums
}

// make writes a file beside the one that it replaces.
func (v *volume) make(ctx context.Context, name string, write func(io.Writer) error) (made, error) {
	file, err := v.replacer.Replace(ctx, v.run.set.ID, name)
	if err != nil {
		return made{}, fmt.Errorf("%s: %w", name, err)
	}
	out := newSummed(ctx, file, v.run.Tracker.Stage("rotate"))
	if err := write(out); err != nil {
		return made{}, errors.Join(fmt.Errorf("%s: %w", name, err), file.Abort())
	}
	return made{name: name, file: file, sum: capstan.Hash(out.sum.Sum(nil))}, nil
}

// entries are the set's entries on their way into the manifest; the guide learns
// from them what it has to explain.
func (r *run) entries(ctx context.Context, guide *manifest.Guide) iter.Seq2[capstan.Entry, error] {
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

// sign makes the signature of a set's sums. The set before it may have got others
// since it was signed last: the catalog knows.
func (v *volume) sign(ctx context.Context, s manifest.Statement) ([]byte, error) {
	if s.Previous != "" {
		recorded, known, err := v.run.Catalog.Sums(ctx, s.Previous, v.Info().ID)
		if err != nil {
			return nil, err
		}
		if known && s.Previous != v.run.set.ID {
			s.PreviousSums = recorded
		}
	}
	s.Time = v.run.Now()
	return v.run.Key.Sign(s)
}

// signNext signs the set anew that was signed after this one.
func (v *volume) signNext(ctx context.Context, sum capstan.Hash, known map[capstan.Hash]bool) error {
	sets, err := v.Sets(ctx)
	if err != nil {
		return err
	}
	for _, id := range sets {
		if id == v.run.set.ID {
			continue
		}
		if err := v.signAfter(ctx, id, sum, known); err != nil {
			return err
		}
	}
	return nil
}

func (v *volume) signAfter(ctx context.Context, id capstan.SetID, sum capstan.Hash, known map[capstan.Hash]bool) error {
	text, err := readSmall(ctx, v.Volume, id, manifest.SumsName)
	var signature []byte
	if err == nil {
		signature, err = readSmall(ctx, v.Volume, id, manifest.SignatureName)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return nil //nolint:nilerr // it is not finished, or verify names it
	}
	s, err := manifest.VerifySignature(signature, text, v.run.Key.Public())
	if err != nil || s.Set != id || s.Previous != v.run.set.ID || s.PreviousSums == sum || !known[s.PreviousSums] {
		return nil //nolint:nilerr // not this home's, not after this set, or in doubt already, which verify names
	}
	s.PreviousSums = sum
	if signature, err = v.sign(ctx, s); err != nil {
		return err
	}
	file, err := v.replacer.Replace(ctx, id, manifest.SignatureName)
	if err != nil {
		return fmt.Errorf("signature of set %s: %w", id, err)
	}
	if _, err := file.Write(signature); err != nil {
		return errors.Join(err, file.Abort())
	}
	return file.Commit(ctx)
}
