package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/copier"
	"capstan/internal/manifest"
	"capstan/internal/progress"
)

// kindTape is a volume whose room comes back when the whole cartridge is written
// anew: nothing is removed from it.
const kindTape = "tape"

// eraseTime bounds how long a volume may take for one step of a removal before it
// counts as one that does not answer.
const eraseTime = time.Minute

// turnTime bounds how long a removal waits for another run that writes to the
// volume: the next call removes what this one left.
const turnTime = time.Minute

// eraseBatch is how many files one step removes.
const eraseBatch = 8

// Erasure is a forgotten set that a volume holds nothing of any more.
type Erasure struct {
	Set      capstan.SetID    `json:"set"`
	Volume   capstan.VolumeID `json:"volume"`
	Location string           `json:"location"`
	Bytes    capstan.Bytes    `json:"bytes"` // that were removed by this call
}

// Leftover is a forgotten set that a volume holds some of.
type Leftover struct {
	Set      capstan.SetID    `json:"set"`
	Volume   capstan.VolumeID `json:"volume"`
	Location string           `json:"location"`
	Problem  string           `json:"problem,omitempty"` // why it was not removed
}

// Leftovers lists what volumes hold of forgotten sets, and are to lose; of a job, or
// of all.
func (e *Engine) Leftovers(ctx context.Context, job capstan.JobKey) (left []Leftover, err error) {
	sets, err := e.Catalog.Forgotten(ctx, job)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		for _, id := range set.Volumes {
			info, err := e.Catalog.Volume(ctx, id)
			if err != nil {
				return nil, err
			}
			left = append(left, Leftover{Set: set.ID, Volume: id, Location: info.Location})
		}
	}
	return left, nil
}

// eraseAfter removes from the volumes of a run what is left there of forgotten sets
// of its job. What fails is only told: the next forget or backup tries again.
func (e *Engine) eraseAfter(ctx context.Context, job Backup) {
	_, left, err := e.erase(ctx, job.Job, volumeIDs(job.Volumes))
	for _, l := range left {
		if l.Problem != "" {
			e.Warn("volume %s still holds some of the forgotten set %s: %s", l.Location, l.Set, l.Problem)
		}
	}
	if err != nil && ctx.Err() == nil {
		e.Warn("removing forgotten sets: %v", err)
	}
}

// erase removes the bytes of forgotten sets of a job from their volumes, or from
// those of the given ones alone, and then their entries from the catalog. The caller
// holds the job's lock. A volume that does not answer is an outcome; the error is
// the cause of ctx, or that the catalog failed.
func (e *Engine) erase(ctx context.Context, job capstan.JobKey, only []capstan.VolumeID) (erased []Erasure, left []Leftover, err error) {
	sets, err := e.Catalog.Forgotten(ctx, job)
	if err != nil || len(sets) == 0 {
		return nil, nil, err
	}
	stage := e.Tracker.Stage(progress.StepDelete)
	stage.Begin()
	defer stage.End()
	byVolume := map[capstan.VolumeID][]catalog.ForgottenSet{}
	var order []capstan.VolumeID
	for _, set := range sets {
		for _, id := range set.Volumes {
			if byVolume[id] == nil {
				order = append(order, id)
			}
			byVolume[id] = append(byVolume[id], set)
		}
	}
	cartridges := map[capstan.SetID]bool{} // sets that one holds: they can be restored until it is used again
	for _, id := range order {
		info, err := e.Catalog.Volume(ctx, id)
		if err != nil {
			return erased, left, err
		}
		if info.Kind == kindTape {
			for _, set := range byVolume[id] {
				cartridges[set.ID] = true
			}
			continue
		}
		if only != nil && !slices.Contains(only, id) {
			continue
		}
		w := &eraser{Engine: e, info: info, stage: stage}
		if err := w.volume(ctx, byVolume[id]); err != nil {
			return append(erased, w.erased...), left, err
		}
		erased, left = append(erased, w.erased...), append(left, w.left...)
	}
	for _, set := range sets {
		if set.Listed && !cartridges[set.ID] {
			if err := e.Catalog.DeleteSet(ctx, set.ID); err != nil {
				return erased, left, err
			}
		}
	}
	return erased, left, nil
}

// eraser removes forgotten sets from one volume.
type eraser struct {
	*Engine
	info   capstan.VolumeInfo
	lease  *catalog.Lease // of the volume
	stage  *progress.Stage
	erased []Erasure
	left   []Leftover
}

// volume removes the sets, under the volume's lease: whoever signs a set anew there
// must not meet one that is half gone. After the first failure of the volume the
// others are left, too. The error is the cause of ctx, or that the catalog failed.
func (w *eraser) volume(ctx context.Context, sets []catalog.ForgottenSet) (err error) {
	volume, err := answer(ctx, w, func(ctx context.Context) (capstan.Volume, error) { return w.Open(ctx, w.info) })
	if err == nil {
		if err = w.take(ctx); err == nil {
			defer func() { err = errors.Join(err, w.lease.Release(context.WithoutCancel(ctx))) }()
		}
	}
	for i, set := range sets {
		if err == nil {
			err = w.set(ctx, volume, set, len(sets)-i-1)
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if unrecorded, ok := errors.AsType[errUnrecorded](err); ok {
			return unrecorded.error
		}
		if err != nil {
			w.left = append(w.left, Leftover{set.ID, w.info.ID, w.info.Location, capstan.Brief(err)})
		}
	}
	if volume == nil || err != nil {
		return nil // a call may hang in it; closing would wait
	}
	_, err = answer(ctx, w, func(context.Context) (any, error) { return nil, volume.Close() })
	return err
}

// take gets the lease of the volume, after a wait where another run has it.
func (w *eraser) take(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turnTime, fmt.Errorf("another run has written there for %v", turnTime))
	defer cancel()
	done := w.stage.Wait(progress.ForLock, w.info.Location)
	defer done()
	w.lease, err = w.Catalog.AcquireWait(ctx, "volume:"+string(w.info.ID), "removal of forgotten sets", leaseTime)
	return err
}

// errUnrecorded is a failure of the catalog, not of the volume.
type errUnrecorded struct{ error }

// set removes one set, and records that.
func (w *eraser) set(ctx context.Context, volume capstan.Volume, set catalog.ForgottenSet, queue int) error {
	done := w.stage.Step("", fmt.Sprintf("set %s on %s", set.ID, w.info.Location), queue)
	bytes, err := w.files(ctx, volume, set)
	done(bytes, err)
	if err != nil {
		return err
	}
	longer, stop := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer stop()
	if err := w.Catalog.Erased(longer, set.ID, w.info.ID, fmt.Sprintf("%s (volume %s)", w.info.Location, w.info.ID), w.lease.Fence()); err != nil {
		if errors.Is(err, capstan.ErrLeaseLost) {
			return err // whoever has it now finds nothing of the set
		}
		return errUnrecorded{err}
	}
	w.erased = append(w.erased, Erasure{set.ID, w.info.ID, w.info.Location, bytes})
	return nil
}

// files removes the files that runs made of a set. Its sums go first, then its signature:
// whoever finds half of it finds a set that was not finished. It may be repeated.
func (w *eraser) files(ctx context.Context, volume capstan.Volume, set catalog.ForgottenSet) (removed capstan.Bytes, err error) {
	ours, err := w.claim(ctx, volume, set)
	if err != nil {
		return 0, err
	}
	volume = copier.Fenced(volume, w.lease)
	if _, err := answer(ctx, w, func(ctx context.Context) (int, error) { return ifOurs(ours, volume.Discard)(ctx, set.ID) }); err != nil || !ours {
		return 0, err
	}
	files, err := answer(ctx, w, func(ctx context.Context) ([]capstan.StoredFile, error) { return volume.List(ctx, set.ID) })
	if err != nil {
		return 0, err
	}
	head := []string{manifest.SumsName, manifest.SignatureName}
	var names []string
	for _, file := range files {
		if !madeHere(set.ID, file.Name) {
			w.Say("%s in set %s on %s was not made by Capstan, and stays", file.Name, set.ID, w.info.Location)
			continue
		}
		removed += capstan.Bytes(file.Size)
		if !slices.Contains(head, file.Name) {
			names = append(names, file.Name)
		}
	}
	batches := [][]string{head}
	for batch := range slices.Chunk(names, eraseBatch) {
		batches = append(batches, batch)
	}
	for _, batch := range append(batches, nil) { // in the end the directory, where nothing else lies in it
		if _, err := answer(ctx, w, func(ctx context.Context) (any, error) { return nil, volume.Remove(ctx, set.ID, batch...) }); err != nil {
			return 0, err
		}
	}
	return removed, nil
}

// ifOurs lets a set that is not there, or not ours, be cleared of nothing.
func ifOurs(ours bool, discard func(context.Context, capstan.SetID) (int, error)) func(context.Context, capstan.SetID) (int, error) {
	return func(ctx context.Context, id capstan.SetID) (int, error) {
		n, err := discard(ctx, id)
		if !ours && errors.Is(err, capstan.ErrRefused) {
			err = nil
		}
		return n, err
	}
}

// claim makes sure that what lies on the volume under the set's name is the set
// that the catalog means: claimed with the word that only its row knows or, of a
// set that was read from a volume, by this home. False: there is nothing of it.
func (w *eraser) claim(ctx context.Context, volume capstan.Volume, set catalog.ForgottenSet) (ours bool, err error) {
	teller, ok := volume.(capstan.ClaimTeller)
	if !ok {
		return false, errors.New("it does not tell whose a set is")
	}
	owner, err := answer(ctx, w, func(ctx context.Context) (string, error) { return teller.Claimant(ctx, set.ID) })
	if errors.Is(err, capstan.ErrSetExists) {
		owner, err = "?", nil
	}
	if err != nil || owner == "" {
		return false, err
	}
	home, _, _ := strings.Cut(owner, capstan.ClaimMark)
	if set.Claim != "" && owner != w.claimant(capstan.Set{Claim: set.Claim}) || home != w.Key.ID() {
		w.Say("set %s on %s belongs to another catalog, and stays there", set.ID, w.info.Location)
		return false, nil
	}
	_, err = answer(ctx, w, func(ctx context.Context) (any, error) { return nil, volume.ClaimSet(ctx, set.ID, owner) })
	return err == nil, err
}

// answer does one step on the volume as a declared wait, and leaves it behind when
// it takes too long. A step that hangs may still be carried out one day, which does
// no harm: the set is forgotten.
func answer[T any](ctx context.Context, w *eraser, do func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := w.stage.Wait(progress.ForVolume, w.info.Location)
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, eraseTime, fmt.Errorf("it did not answer within %v", eraseTime))
	defer cancel()
	results := make(chan result, 1)
	go func() {
		value, err := do(ctx)
		results <- result{value, err}
	}()
	select {
	case r := <-results:
		w.stage.Moved(0, 0)
		return r.value, r.err
	case <-ctx.Done():
		return *new(T), context.Cause(ctx)
	}
}
