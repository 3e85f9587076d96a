package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"capstan"
	"capstan/internal/copier"
)

// attendTime bounds how long one volume of several may take to answer before a
// run goes on without it for the time being.
const attendTime = 20 * time.Second

// attend does something with every volume of the run that is open. Of several,
// one that fails or does not answer is left to its owner, which tries again later;
// the error of a single one is the run's.
//
// The work of a volume that is left aside may still go on: what it found goes
// through found, which is called after work, only for a volume that answered, and
// not by another goroutine.
func attend[T any](ctx context.Context, r *backupRun, work func(ctx context.Context, volume capstan.Volume) (T, error), found func(volume capstan.Volume, what T)) error {
	for i := range r.Volumes {
		v := &r.Volumes[i]
		opened := v.Opened
		if opened == nil {
			continue
		}
		stage := r.Tracker.Stage(stageBegin)
		stage.Begin()
		done := stage.Wait(forStart, v.Info.Location)
		what, err := within(ctx, len(r.Volumes) > 1, func(ctx context.Context) (T, error) { return work(ctx, opened) })
		done()
		stage.End()
		if err == nil {
			found(opened, what)
		}
		_, left := errors.AsType[unanswered](err)
		if cause := context.Cause(ctx); cause != nil {
			r.unanswered = r.unanswered || left
			return cause
		}
		if err == nil {
			continue
		}
		if len(r.Volumes) == 1 || errors.Is(err, capstan.ErrSetExists) {
			return err
		}
		r.Warn("volume %s is left aside for now: %v", v.Info.Location, err)
		v.Opened = nil // not closed: a call may hang in it
	}
	return nil
}

// within does work, and leaves it behind when it takes too long.
func within[T any](ctx context.Context, limited bool, work func(ctx context.Context) (T, error)) (what T, err error) {
	if !limited {
		return work(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, attendTime, fmt.Errorf("it did not answer within %v", attendTime))
	defer cancel()
	type answer struct {
		what T
		err  error
	}
	result := make(chan answer, 1)
	go func() {
		what, err := work(ctx)
		result <- answer{what, err}
	}()
	select {
	case a := <-result:
		return a.what, a.err
	case <-ctx.Done():
		return what, unanswered{context.Cause(ctx)}
	}
}

// unanswered is the error of work that was left behind: it may be done yet.
type unanswered struct{ error }

// Unwrap gives why nobody waits any more.
func (u unanswered) Unwrap() error { return u.error }

// reserve claims the set's name in the stage and on the volumes; taken says which
// of them has a set of that name already that is not ours.
func (r *backupRun) reserve(ctx context.Context, set capstan.Set) (taken string, err error) {
	var claimed []capstan.Volume
	var at *capstan.Error
	err = attend(ctx, r, func(ctx context.Context, volume capstan.Volume) (struct{}, error) {
		err := volume.ClaimSet(ctx, set.ID, r.claimant(set))
		if errors.Is(err, capstan.ErrSetExists) {
			err = &capstan.Error{Class: capstan.ErrSetExists, Op: "claim set", Object: volume.Info().Location, Err: err}
		}
		return struct{}{}, err
	}, func(volume capstan.Volume, _ struct{}) { claimed = append(claimed, volume) })
	if err == nil && r.Stage != nil {
		err = r.Stage.ClaimSet(ctx, set.ID)
	}
	if err == nil {
		return "", nil
	}
	if !r.resumed && !r.unanswered { // else the set stays
		// Also of a run that was cancelled meanwhile: the set is about to be nobody's.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		for _, volume := range claimed {
			if freeErr := volume.Remove(ctx, set.ID); freeErr != nil && !errors.Is(err, capstan.ErrSetExists) {
				err = errors.Join(err, freeErr)
			}
		}
	}
	if errors.As(err, &at) && at.Class == capstan.ErrSetExists { //nolint:errorlint // the class that was set above
		return at.Object, nil
	}
	return "", err
}

// discard removes the unfinished files of the set from its volumes, and tells how
// many. Those in the stage are gone since it was opened.
func (r *backupRun) discard(ctx context.Context) (files int, err error) {
	err = attend(ctx, r, func(ctx context.Context, volume capstan.Volume) (int, error) {
		return volume.Discard(ctx, r.set.ID)
	}, func(_ capstan.Volume, n int) { files += n })
	return files, err
}

// holdings is what lies finished in one place.
type holdings map[string]int64 // sizes by name

func listed(files []capstan.StoredFile) holdings {
	h := make(holdings, len(files))
	for _, file := range files {
		h[file.Name] = file.Size
	}
	return h
}

func (h holdings) has(a capstan.Archive) bool {
	size, there := h[a.Name]
	return there && size == a.Size
}

// adoptArchives keeps the archives that the stage or a volume still holds whole,
// and drops the records of any other, whose entries are then packed again. A copy
// that is not on its volume any more is queued.
func (r *backupRun) adoptArchives(ctx context.Context, set capstan.SetID) (int, error) {
	staged, onVolumes, err := r.survey(ctx, set)
	if err != nil {
		return 0, err
	}
	archives, err := r.Catalog.Archives(ctx, set)
	if err != nil {
		return 0, err
	}
	all, err := r.Catalog.Copies(ctx, set)
	if err != nil {
		return 0, err
	}
	copies := make(map[capstan.ArchiveNumber][]capstan.Copy, len(archives))
	for _, c := range all {
		copies[c.Number] = append(copies[c.Number], c)
	}
	unstaged := 0
	kept := make(map[capstan.ArchiveNumber]capstan.Archive, len(archives))
	var lost []capstan.ArchiveNumber
	for _, archive := range archives {
		there, err := r.whereabouts(ctx, archive, copies[archive.Number], staged, onVolumes)
		if err != nil {
			return 0, err
		}
		if there {
			kept[archive.Number] = archive
			continue
		}
		if anywhere(archive.Number, copies[archive.Number]) {
			r.Say("archive %s is not on the volume as it was written: packing its entries again", archive.Name)
		} else {
			unstaged++
		}
		lost = append(lost, archive.Number)
	}
	if unstaged > 0 {
		r.Say("%d sealed archives were on no volume yet, and are not in this run's stage: packing their entries again", unstaged)
	}
	if len(lost) > 0 {
		if err := r.Catalog.DropArchive(ctx, set, lost...); err != nil {
			return 0, err
		}
	}
	if err := r.giveUpUnended(ctx, set, kept); err != nil {
		return 0, err
	}
	if err := r.giveUpSnapshots(ctx, set, kept); err != nil {
		return 0, err
	}
	r.adopted = map[capstan.ArchiveNumber]bool{}
	known := make(map[string]bool, len(kept))
	for _, archive := range kept {
		known[archive.Name] = true
		r.tally.archive(archive.Size)
		r.adopted[archive.Number] = true
	}
	return len(kept), r.removeOrphans(ctx, set, known)
}

// giveUpUnended takes back the archives at the end that hold parts of a file which
// was not packed to its end: it is packed from its beginning again, and what they
// have of it would be in the set twice. A kill in between leaves files that the next
// run removes.
func (r *backupRun) giveUpUnended(ctx context.Context, set capstan.SetID, kept map[capstan.ArchiveNumber]capstan.Archive) error {
	numbers, err := r.Catalog.Unended(ctx, set)
	if err != nil || len(numbers) == 0 {
		return err
	}
	var names []string
	for _, number := range numbers {
		names = append(names, kept[number].Name)
		delete(kept, number)
	}
	r.Say("%d sealed archives hold parts of a file that was not packed to its end: they are packed again", len(numbers))
	if err := r.Catalog.DropArchive(ctx, set, numbers...); err != nil || r.Stage == nil {
		return err
	}
	return r.Stage.Remove(ctx, set, names...)
}

// anywhere reports whether an archive was said to be on a volume.
func anywhere(number capstan.ArchiveNumber, copies []capstan.Copy) bool {
	return slices.ContainsFunc(copies, func(c capstan.Copy) bool { return c.Number == number && said(c.State) })
}

// survey lists what the stage and every volume that answers hold of the set.
func (r *backupRun) survey(ctx context.Context, set capstan.SetID) (staged holdings, onVolumes map[capstan.VolumeID]holdings, err error) {
	if r.Stage != nil {
		files, err := r.Stage.List(ctx, set)
		if err != nil {
			return nil, nil, err
		}
		staged = listed(files)
	}
	onVolumes = map[capstan.VolumeID]holdings{}
	err = attend(ctx, r, func(ctx context.Context, volume capstan.Volume) ([]capstan.StoredFile, error) {
		return volume.List(ctx, set)
	}, func(volume capstan.Volume, files []capstan.StoredFile) { onVolumes[volume.Info().ID] = listed(files) })
	return staged, onVolumes, err
}

// whereabouts reports whether an archive is somewhere, and queues its copies that
// are said to be on a volume and are not.
func (r *backupRun) whereabouts(ctx context.Context, a capstan.Archive, copies []capstan.Copy, staged holdings, onVolumes map[capstan.VolumeID]holdings) (there bool, err error) {
	there = staged.has(a)
	var gone []capstan.VolumeID
	for _, c := range copies {
		if !slices.ContainsFunc(r.Volumes, func(v copier.Volume) bool { return v.Info.ID == c.Volume }) {
			continue
		}
		good := c.State == capstan.CopyWritten || c.State == capstan.CopyVerified
		files, answers := onVolumes[c.Volume]
		switch {
		case answers && files.has(a), !answers && good:
			there = true
		case good:
			gone = append(gone, c.Volume)
		}
	}
	if !there || r.Stage == nil {
		return there, nil
	}
	for _, volume := range gone {
		if err := r.Catalog.SetCopy(ctx, a.Set, a.Number, volume, capstan.CopyQueued, "", r.Now()); err != nil {
			return there, err
		}
	}
	return there, nil
}

// removeOrphans removes what lies finished but unknown on the volumes: it was
// renamed just before the catalog could say so, or belongs to the set's
// unfinished end (manifest, sums).
func (r *backupRun) removeOrphans(ctx context.Context, set capstan.SetID, known map[string]bool) error {
	return attend(ctx, r, func(ctx context.Context, volume capstan.Volume) (struct{}, error) {
		var nothing struct{}
		files, err := volume.List(ctx, set)
		if err != nil {
			return nothing, err
		}
		var orphans []string
		for _, file := range files {
			if !known[file.Name] && madeHere(set, file.Name) {
				orphans = append(orphans, file.Name)
			}
		}
		if len(orphans) > 0 {
			if err := volume.Remove(ctx, set, orphans...); err != nil {
				return nothing, err
			}
		}
		return nothing, volume.ClaimSet(ctx, set, r.owner()) // with its last file the volume gave up the set's name
	}, func(capstan.Volume, struct{}) {})
}

// demand asks for the set on the volumes of this run, and on no others. It asks
// first: at no moment shall nobody want what only the stage has.
func (r *backupRun) demand(ctx context.Context) error {
	ids := r.volumeIDs()
	before, err := r.Catalog.Demands(ctx, r.set.ID)
	if err == nil {
		err = r.Catalog.Demand(ctx, r.set.ID, ids...)
	}
	for _, d := range before {
		if err == nil && !slices.Contains(ids, d.Volume) && d.State != capstan.CopyForgotten {
			err = r.Catalog.AbandonDemand(ctx, r.set.ID, d.Volume)
		}
	}
	return err
}
