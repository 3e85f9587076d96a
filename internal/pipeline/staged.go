package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/copier"
	"capstan/internal/progress"
)

// maxFirstRoom bounds what an archive reserves in the stage before its first
// byte: more is asked for as it grows, so that a small set does not wait for the
// room of a large one.
const maxFirstRoom = 256 * capstan.MiB

// leaseTime is for how long at a time a run has a volume: one that is stopped or
// cut from the catalog for longer loses it.
const leaseTime = 30 * time.Second

// direct is the volume that archives are written on, of a run without a stage.
func (r *backupRun) direct() capstan.Volume { return r.Volumes[0].Opened }

func (r *backupRun) volumeIDs() []capstan.VolumeID { return volumeIDs(r.Volumes) }

func volumeIDs(volumes []copier.Volume) []capstan.VolumeID {
	ids := make([]capstan.VolumeID, len(volumes))
	for i, v := range volumes {
		ids[i] = v.Info.ID
	}
	return ids
}

// restingPlace is where archives are sealed, for people.
func (r *backupRun) restingPlace() string {
	if r.Stage != nil {
		return r.Stage.Path()
	}
	return r.Volumes[0].Info.Location
}

// sealedState is what a sealed archive's copies are.
func (r *backupRun) sealedState() capstan.CopyState {
	if r.Stage != nil {
		return capstan.CopyQueued
	}
	return capstan.CopyWritten
}

// create starts an archive: in the stage, as soon as there is room, or on the volume.
func (r *backupRun) create(ctx context.Context, name string) (capstan.VolumeFile, error) {
	if r.Stage == nil {
		done := r.writeWaits()
		file, err := r.direct().Create(ctx, r.set.ID, name)
		done()
		if err != nil || r.Limit == nil {
			return file, err
		}
		return limitedFile{file, ctx, r}, nil
	}
	room, err := r.Stage.Reserve(ctx, min(r.ArchiveSize, maxFirstRoom))
	if err != nil {
		return nil, err
	}
	done := r.writeWaits()
	file, err := r.Stage.Create(ctx, r.set.ID, name, room)
	done()
	if err != nil {
		return nil, errors.Join(err, room.Release(context.WithoutCancel(ctx)))
	}
	return file, nil
}

// writeWaits declares that the writing waits for the place where archives are sealed.
func (r *backupRun) writeWaits() (done func()) {
	return r.Tracker.Stage(stageWrite).Wait(progress.ForVolume, r.restingPlace())
}

// limitedFile holds a volume's file to the run's limit.
type limitedFile struct {
	capstan.VolumeFile
	ctx context.Context //nolint:containedctx // of the run that writes the file
	run *backupRun
}

func (f limitedFile) Write(p []byte) (int, error) {
	stage := f.run.Tracker.Stage(stageWrite)
	if err := f.run.Limit.Wait(f.ctx, stage, len(p)); err != nil {
		return 0, err
	}
	done := stage.Wait(progress.ForVolume, f.run.restingPlace())
	defer done()
	return f.VolumeFile.Write(p)
}

// CommitIf implements capstan.GuardedFile where the volume's file does.
func (f limitedFile) CommitIf(ctx context.Context, may func() error) error {
	if guarded, ok := f.VolumeFile.(capstan.GuardedFile); ok {
		return guarded.CommitIf(ctx, may)
	}
	if err := may(); err != nil {
		return err
	}
	return f.Commit(ctx)
}

// Drop implements capstan.GuardedFile.
func (f limitedFile) Drop() error { return f.Abort() }

// startQueue starts what brings sealed archives from the stage to the volumes.
func (r *backupRun) startQueue(ctx context.Context) {
	if r.Stage == nil || r.queue.Load() != nil {
		return
	}
	r.queue.Store(copier.Start(ctx, r.copierOptions(r.finishVolume), r.set.ID, r.Volumes))
	for i := range r.Volumes {
		r.Volumes[i].Opened = nil // the queue closes it
	}
}

// copierOptions are those of a queue of this run.
func (r *backupRun) copierOptions(finish func(context.Context, capstan.Volume, func()) error) copier.Options {
	o := r.Engine.Copier
	o.Catalog, o.Tracker, o.Open, o.Say, o.Now = r.Catalog, r.Tracker, r.Open, r.Warn, r.Now
	o.Finish, o.Owner, o.Limit = finish, r.owner(), r.Limit
	o.Purpose = fmt.Sprintf("run %d of job %s", r.run, r.Job)
	if o.LeaseTime == 0 {
		o.LeaseTime = leaseTime
	}
	if r.Patience.Attempts > 0 {
		o.Attempts = r.Patience.Attempts
	}
	if r.Stage != nil {
		o.Stage = r.Stage
	}
	return o
}

// stopQueue ends the queue of a run that does not come to its end.
func (r *backupRun) stopQueue(cause error) {
	if queue := r.queue.Swap(nil); queue != nil {
		queue.Stop(cause)
	}
}

// enqueued tells the volumes of an archive that waits for them.
func (r *backupRun) enqueued(a capstan.Archive) {
	queue := r.queue.Load()
	if queue == nil {
		return
	}
	done := r.step(progress.StepEnqueue, a.Name)
	queue.Wake()
	done()
}

// drain waits for the volumes to have all of the set, or to be given up.
func (r *backupRun) drain(ctx context.Context) error {
	queue := r.queue.Load()
	outcomes, err := queue.Drain()
	r.queue.Store(nil)
	r.outcomesMu.Lock()
	r.outcomes = outcomes
	r.outcomesMu.Unlock()
	if err != nil {
		return err
	}
	return context.Cause(ctx)
}

// leave gives the set up in the stage at the end of a run: another process may go
// on with it. It is the end of the process, too, so an error is only said.
func (r *backupRun) leave(ctx context.Context) {
	if r.Stage == nil || r.set.ID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	_, err := within(ctx, true, func(ctx context.Context) (struct{}, error) { return struct{}{}, r.Stage.LeaveSet(ctx, r.set.ID) })
	if err != nil {
		r.Say("stage %s: %v", r.Stage.Path(), err)
	}
}

// fitArchives makes archives small enough for the stage to hold some of them: one
// being packed, one being written, one in between.
func (r *backupRun) fitArchives(ctx context.Context) error {
	if r.Stage == nil {
		return nil
	}
	usage, err := r.Stage.Usage(ctx)
	if err != nil {
		return err
	}
	room := usage.Quota
	if r.anySnapshot() {
		room -= r.Stage.SpoolRoom()
	}
	if most := max(room/3, archive.MinArchive); r.ArchiveSize > most {
		r.Say("archives are cut at %s, since the stage holds %s", most, usage.Quota)
		r.ArchiveSize = most
	}
	return nil
}

func (r *backupRun) volumeOutcomes() []copier.Outcome {
	r.outcomesMu.Lock()
	defer r.outcomesMu.Unlock()
	return r.outcomes
}

// lacks counts the volumes that do not have all of the set.
func lacks(outcomes []copier.Outcome) (n int) {
	for _, o := range outcomes {
		if o.State != capstan.CopyWritten {
			n++
		}
	}
	return n
}

// lackingError says which volumes lack the set, what is safe, and what to do.
func lackingError(set capstan.SetID, run capstan.RunID, counts capstan.Counts, outcomes []copier.Outcome) error {
	var without []string
	for _, o := range outcomes {
		if o.State != capstan.CopyWritten {
			without = append(without, fmt.Sprintf("%s lacks it (%s)", o.Location, o.Problem))
		}
	}
	text := strings.Join(without, "; ")
	if counts.Failed > 0 {
		text += fmt.Sprintf("; %d of %d entries could not be read", counts.Failed, counts.Entries)
	}
	safe := "what it lacks waits in the stage"
	if len(without) < len(outcomes) {
		safe += ", and is whole on the other volumes"
	}
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "set", Object: string(set), Err: errors.New(text), Safe: safe,
		Next: fmt.Sprintf("when the volume is well again: capstan retry %d", run),
	}
}
