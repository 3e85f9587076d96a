package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"capstan"
)

// attendTime bounds how long one volume of several may take to answer before a
// run goes on without it for the time being.
const attendTime = 20 * time.Second

// attend does something with every volume of the run that is open. Of several,
// one that fails or does not answer is left to its owner, which tries again later;
// the error of a single one is the run's.
func (r *backupRun) attend(ctx context.Context, work func(ctx context.Context, volume capstan.Volume) error) error {
	for i := range r.Volumes {
		v := &r.Volumes[i]
		if v.Opened == nil {
			continue
		}
		stage := r.Tracker.Stage(stageBegin)
		stage.Begin()
		done := stage.Wait(forStart, v.Info.Location)
		err := within(ctx, len(r.Volumes) > 1, func(ctx context.Context) error { return work(ctx, v.Opened) })
		done()
		stage.End()
		if cause := context.Cause(ctx); cause != nil {
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
func within(ctx context.Context, limited bool, work func(ctx context.Context) error) error {
	if !limited {
		return work(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, attendTime, fmt.Errorf("it did not answer within %v", attendTime))
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- work(ctx) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// reserve claims the set's name in the stage and on the volumes; taken says which
// of them has a set of that name already that is not ours.
func (r *backupRun) reserve(ctx context.Context, set capstan.Set) (taken string, err error) {
	var claimed []capstan.Volume
	at := ""
	err = r.attend(ctx, func(ctx context.Context, volume capstan.Volume) error {
		at = volume.Info().Location
		err := volume.ClaimSet(ctx, set.ID, r.claimant(set))
		if err == nil {
			claimed = append(claimed, volume)
		}
		return err
	})
	if err == nil && r.Stage != nil {
		err = r.Stage.ClaimSet(ctx, set.ID)
	}
	if err == nil {
		return "", nil
	}
	if !r.resumed {
		for _, volume := range claimed {
			if freeErr := volume.Remove(ctx, set.ID); freeErr != nil && !errors.Is(err, capstan.ErrSetExists) {
				err = errors.Join(err, freeErr)
			}
		}
	}
	if errors.Is(err, capstan.ErrSetExists) {
		return at, nil
	}
	return "", err
}

// discard removes the unfinished files of the set from its volumes, and tells how
// many. Those in the stage are gone since it was opened.
func (r *backupRun) discard(ctx context.Context) (files int, err error) {
	err = r.attend(ctx, func(ctx context.Context, volume capstan.Volume) error {
		n, err := volume.Discard(ctx, r.set.ID)
		files += n
		return err
	})
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
	copies, err := r.Catalog.Copies(ctx, set)
	if err != nil {
		return 0, err
	}
	kept, unstaged := 0, 0
	r.adopted = map[capstan.ArchiveNumber]bool{}
	var lost []capstan.ArchiveNumber
	known := make(map[string]bool, len(archives))
	for _, archive := range archives {
		there, err := r.whereabouts(ctx, archive, copies, staged, onVolumes)
		if err != nil {
			return 0, err
		}
		if there {
			kept++
			known[archive.Name] = true
			r.tally.archive(archive.Size)
			r.adopted[archive.Number] = true
			continue
		}
		if anywhere(archive.Number, copies) {
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
	return kept, r.removeOrphans(ctx, set, known)
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
	err = r.attend(ctx, func(ctx context.Context, volume capstan.Volume) error {
		files, err := volume.List(ctx, set)
		if err == nil {
			onVolumes[volume.Info().ID] = listed(files)
		}
		return err
	})
	return staged, onVolumes, err
}

// whereabouts reports whether an archive is somewhere, and queues its copies that
// are said to be on a volume and are not.
func (r *backupRun) whereabouts(ctx context.Context, a capstan.Archive, copies []capstan.Copy, staged holdings, onVolumes map[capstan.VolumeID]holdings) (there bool, err error) {
	there = staged.has(a)
	var gone []capstan.VolumeID
	for _, c := range copies {
		if c.Number != a.Number || !slices.Contains(r.volumeIDs(), c.Volume) {
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
	return r.attend(ctx, func(ctx context.Context, volume capstan.Volume) error {
		files, err := volume.List(ctx, set)
		if err != nil {
			return err
		}
		var orphans []string
		for _, file := range files {
			if !known[file.Name] && madeHere(set, file.Name) {
				orphans = append(orphans, file.Name)
			}
		}
		if len(orphans) > 0 {
			if err := volume.Remove(ctx, set, orphans...); err != nil {
				return err
			}
		}
		return volume.ClaimSet(ctx, set, r.owner()) // with its last file the volume gave up the set's name
	})
}

// demand asks for the set on the volumes of this run, and on no others.
func (r *backupRun) demand(ctx context.Context) error {
	ids := r.volumeIDs()
	before, err := r.Catalog.Demands(ctx, r.set.ID)
	if err != nil {
		return err
	}
	for _, d := range before {
		if slices.Contains(ids, d.Volume) || d.State == capstan.CopyForgotten {
			continue
		}
		if err := r.Catalog.AbandonDemand(ctx, r.set.ID, d.Volume); err != nil {
			return err
		}
	}
	return r.Catalog.Demand(ctx, r.set.ID, ids...)
}
