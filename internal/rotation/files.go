package rotation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/envelope"
	"capstan/internal/manifest"
	"capstan/internal/progress"
)

// unlock proves, before anything is changed, that the identities open what still has
// its old header: the first such file stands for all.
func (v *volume) unlock(ctx context.Context) error {
	for _, sum := range v.sums {
		if !strings.HasSuffix(sum.Name, envelope.Suffix) || v.rebuilt(sum.Name) {
			continue
		}
		file, err := v.Open(ctx, v.run.set.ID, sum.Name)
		if err != nil {
			continue // it is named when it is its turn
		}
		done := v.done(file, sum.Name)
		if !done {
			_, err = v.run.keys.OpenAt(file, file.Size())
		}
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		switch {
		case errors.Is(err, capstan.ErrWrongKey):
			return v.run.named(err)
		case !done && err == nil:
			return nil
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		}
	}
	return nil
}

// rebuilt reports whether a file is made anew from the catalog, and not opened.
func (v *volume) rebuilt(name string) bool {
	return name == manifest.Name+envelope.Suffix || name == manifest.GuideName+envelope.Suffix
}

// done reports whether a file has its new header. It was made durable before it got
// its name, so that the rest is there too.
func (v *volume) done(file capstan.VolumeReader, name string) bool {
	w, planned := v.run.open.Find(v.Info().ID, name)
	if !planned || w.Hash.IsZero() || file.Size() != w.Size {
		return false
	}
	start := make([]byte, len(w.Header))
	n, _ := file.ReadAt(start, 0) // what cannot be read is not the header
	return n == len(start) && bytes.Equal(start, w.Header)
}

// files gives every encrypted file that keeps its content a new header.
func (v *volume) files(ctx context.Context) error {
	for _, a := range v.run.archives {
		if err := v.file(ctx, a.Name, a.Hash, a.Number); err != nil {
			return err
		}
	}
	for _, sum := range v.sums {
		if !strings.HasSuffix(sum.Name, envelope.Suffix) || v.rebuilt(sum.Name) || isArchive(sum.Name) {
			continue
		}
		if err := v.file(ctx, sum.Name, sum.Hash, 0); err != nil {
			return err
		}
	}
	return nil
}

// file rewrites one file. One that is not what was written stays as it is, and is
// named; number is 0 for what is no archive.
func (v *volume) file(ctx context.Context, name string, written capstan.Hash, number capstan.ArchiveNumber) error {
	r := v.run
	r.Tracker.Stage("rotate").Object(name)
	err := v.rewrap(ctx, name, written)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	state := capstan.CopyDamaged
	switch {
	case err == nil:
		r.summary.Files++
		return nil
	case errors.Is(err, fs.ErrNotExist):
		state = capstan.CopyMissing
	case !errors.Is(err, capstan.ErrDamaged):
		return r.named(err)
	}
	at := fmt.Sprintf("%s on %s", name, v.Info().Location)
	r.Say("%s is %s and keeps its recipients: %v", at, state, err)
	r.summary.Problems = append(r.summary.Problems, Problem{Object: at, Reason: err.Error()})
	r.forget(v.Info().ID, name)
	err = r.Catalog.DropRewrap(ctx, r.set.ID, v.Info().ID, name)
	if err == nil && number != 0 {
		err = r.Catalog.SetCopy(ctx, r.set.ID, number, v.Info().ID, state, "found in a rotation", r.Now())
	}
	return err
}

func (v *volume) rewrap(ctx context.Context, name string, written capstan.Hash) (err error) {
	r := v.run
	file, err := v.Open(ctx, r.set.ID, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if v.done(file, name) {
		return nil
	}
	w, err := v.plan(ctx, file, name)
	if err != nil {
		return err
	}
	out, err := v.replacer.Replace(ctx, r.set.ID, name)
	if err != nil {
		return err
	}
	before, after := sha256.New(), newSummed(ctx, out, r.Tracker.Stage("rotate"))
	err = envelope.RewrapWith(after, before, file, file.Size(), r.keys, w.Header)
	other, alike := r.elsewhere(w.Volume, name)
	w.Size, w.Hash = after.n, capstan.Hash(after.sum.Sum(nil))
	switch {
	case err != nil:
	case capstan.Hash(before.Sum(nil)) != written:
		err = fmt.Errorf("%w: its SHA-256 is not the recorded one", capstan.ErrDamaged)
	case alike && isArchive(name) && !other.Hash.IsZero() && other.Hash != w.Hash:
		err = fmt.Errorf("%w: it is another file than its copy elsewhere", capstan.ErrDamaged)
	default:
		err = r.note(ctx, w)
	}
	if err != nil {
		return errors.Join(err, out.Abort())
	}
	r.Tracker.Stage("rotate").Moved(0, 1)
	r.summary.Bytes += capstan.Bytes(after.n)
	return out.Commit(ctx)
}

// plan gives the header that a file shall have, noted in the catalog.
func (v *volume) plan(ctx context.Context, file capstan.VolumeReader, name string) (catalog.Rewrap, error) {
	r := v.run
	w, planned := r.open.Find(v.Info().ID, name)
	if planned && len(w.Header) > 0 {
		return w, nil
	}
	w = catalog.Rewrap{Volume: v.Info().ID, Name: name}
	var err error
	if other, alike := r.elsewhere(w.Volume, name); alike && isArchive(name) {
		w.Header = other.Header
	} else if w.Header, err = envelope.Rehead(file, file.Size(), r.keys, r.to); err != nil {
		return w, err
	}
	return w, r.note(ctx, w)
}

func isArchive(name string) bool {
	_, _, _, ok := capstan.ParseArchiveName(name)
	return ok
}

// summed passes bytes on while ctx lasts, hashing and counting them.
type summed struct {
	ctx context.Context //nolint:containedctx // a writer's own life
	out io.Writer
	sum hash.Hash
	n   int64

	stage *progress.Stage // moves by what is written
}

func newSummed(ctx context.Context, out io.Writer, stage *progress.Stage) *summed {
	return &summed{ctx: ctx, out: out, sum: sha256.New(), stage: stage}
}

func (s *summed) Write(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	n, err := s.out.Write(p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	s.stage.Moved(capstan.Bytes(n), 0)
	return n, err
}
