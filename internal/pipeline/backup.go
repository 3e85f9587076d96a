package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/catalog"
	"capstan/internal/copier"
	"capstan/internal/envelope"
	"capstan/internal/stage"
)

// Backup is what one run of a job shall do.
type Backup struct {
	Job     capstan.JobKey
	JobName string // empty for an ad hoc job
	Sources []capstan.Source
	// Volumes shall each hold the set; Backup closes them. Without a stage there is
	// one, and it is opened.
	Volumes []copier.Volume
	// Stage is where archives wait for their volumes; nil: they are written on the
	// one volume itself.
	Stage       *stage.Stage
	Codec       capstan.Codec
	Level       int
	ArchiveSize capstan.Bytes // of the tar stream, before compression
	Mode        Mode          // empty: Full
	// Consolidates is the set whose tree is packed in place of Sources, see Consolidate.
	Consolidates capstan.SetID
	// Recipients are those who will be able to read the set; nil: it is not encrypted,
	// or as the set is that it consolidates.
	Recipients *envelope.Recipients
	Limit      *copier.Limit // of the bytes a second that volumes get; nil: none
	Patience   Patience
	// Passphrase is that of a set that is consolidated and is encrypted with one, if
	// Recipients are not given; nil: there is none.
	Passphrase envelope.Passphrase
	// Lock is the job's lock, of a caller that does more under it and frees it
	// itself; nil: it is taken for this run.
	Lock *catalog.Lock
}

// cleanupTime bounds what a cancelled run still does to leave true records.
const cleanupTime = 20 * time.Second

// Backup runs a job once and returns what became of it. The summary is valid
// also beside an error. Errors: capstan.ErrLocked when the job is running
// already, capstan.ErrInterrupted when ctx ended it (the next run resumes),
// capstan.ErrIncomplete when the set is partial, any other when it failed.
//
// It blocks until the run is over, or has been cancelled and hangs in a call to
// the operating system that does not return: then the job stays locked for as
// long as the process lives.
func (e *Engine) Backup(ctx context.Context, job Backup) (Summary, error) {
	defer job.close()
	lock, err := e.lockJob(ctx, job)
	if err != nil {
		return Summary{Type: "summary", Status: capstan.RunFailed, Error: err.Error()}, err
	}
	run := &backupRun{Engine: e, Backup: job, started: e.Now()}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run.cancel = cancel
	runErr, stuck := e.watched(ctx, cancel, job.Patience, run, func(ctx context.Context) error {
		err := run.fitArchives(ctx)
		if err == nil && run.Consolidates != "" {
			defer run.closeChain()
			err = run.openChain(ctx)
		}
		if err == nil {
			err = run.claim(ctx)
		}
		if err == nil {
			err = run.work(ctx)
		}
		return run.tell(ctx, err)
	})
	summary, err := run.finish(ctx, runErr)
	if stuck {
		return summary, err
	}
	if run.draft != nil {
		run.draft.letGo(ctx)
	}
	run.leave(ctx)
	if ctx.Err() == nil {
		e.eraseAfter(ctx, job)
	}
	return summary, errors.Join(err, lock.Unlock())
}

// close closes the volumes; what fails then was read only, or is committed.
func (b *Backup) close() {
	for _, v := range b.Volumes {
		if v.Opened != nil {
			_ = v.Opened.Close()
		}
	}
}

type unlocker interface{ Unlock() error }

func (e *Engine) lockJob(ctx context.Context, job Backup) (unlocker, error) {
	specs := make([]string, len(job.Sources))
	for i, source := range job.Sources {
		specs[i] = source.Spec()
	}
	locations := make([]string, len(job.Volumes))
	for i, volume := range job.Volumes {
		locations[i] = volume.Info.Location
		if err := e.Catalog.EnsureVolume(ctx, volume.Info); err != nil {
			return nil, err
		}
	}
	if job.Consolidates == "" { // whose job is as its own runs have it
		if err := e.Catalog.EnsureJob(ctx, job.Job, job.JobName, specs, locations); err != nil {
			return nil, err
		}
	}
	if job.Lock != nil {
		return held{}, nil
	}
	return e.Catalog.LockJob(ctx, job.Job)
}

// held is a lock that somebody else frees.
type held struct{}

func (held) Unlock() error { return nil }

// backupRun is the state of one run.
type backupRun struct {
	*Engine
	Backup
	set     capstan.Set
	run     capstan.RunID
	cancel  context.CancelCauseFunc // ends the run; the error is why
	resumed bool
	// unanswered: the run has ended while a volume did not answer, whose work may be
	// done yet.
	unanswered bool
	before     *View  // of the set that this one builds on; nil for a full set
	chain      *chain // that the run consolidates; nil: none
	tally      tally
	adopted    map[capstan.ArchiveNumber]bool // sealed by an interrupted run of this set
	stale      map[capstan.ArchiveNumber]bool // of these, those that hold what the source has no more
	taken      map[string]bool                // names of the sources whose snapshot is packed
	draft      *draft                         // of the manifest, when all is packed; nil: it is made from the catalog
	queue      atomic.Pointer[copier.Queue]   // to the volumes; nil without a stage, and before it is started
	started    time.Time

	counted    sync.Once   // the bytes of the set's own files
	packed     sync.Once   // sets end
	end        capstan.Set // the set, as it is when all is packed
	outcomesMu sync.Mutex
	outcomes   []copier.Outcome
}

// work packs all sources and brings the set to its volumes.
func (r *backupRun) work(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	beatCtx, stop := context.WithCancel(ctx)
	group.Go(func() error { return r.heartbeat(beatCtx, r.kind()) })
	group.Go(func() error {
		defer stop()
		r.startQueue(ctx)
		err := r.packAll(ctx)
		if err != nil {
			r.stopQueue(err)
			return err
		}
		return r.complete(ctx)
	})
	return group.Wait()
}

// packAll packs what is not sealed, and once more what turns out to be stale.
func (r *backupRun) packAll(ctx context.Context) error {
	if err := r.pack(ctx); err != nil || len(r.stale) == 0 {
		return err
	}
	if err := r.unseal(ctx); err != nil {
		return err
	}
	r.startQueue(ctx)
	return r.pack(ctx)
}

// pack drives every entry of the sources into archives on the volume.
func (r *backupRun) pack(ctx context.Context) (err error) {
	baseline, err := r.heldBefore(ctx)
	if err != nil {
		return err
	}
	sink := newSink(ctx, r)
	hooks, done := r.packStages(sink)
	defer done()
	packer := archive.NewPacker(ctx, archive.Options{
		Codec: r.Codec, Level: r.Level, ArchiveSize: r.ArchiveSize,
		Workers: r.Workers, Memory: r.packMemory(), Hooks: hooks,
	}, sink)
	err = r.scan(ctx, packer, sink, baseline)
	if err != nil {
		packer.Abort(err)
	} else {
		err = packer.Close(ctx)
	}
	return sink.close(err)
}

func (r *backupRun) scan(ctx context.Context, packer *archive.Packer, sink *sink, baseline capstan.Baseline) error {
	stage := r.Tracker.Stage(stageScan)
	stage.Begin()
	defer stage.End()
	for _, source := range r.Sources {
		stored, err := r.leftovers(ctx, source.Name())
		if err == nil && !r.hasSnapshot(source) {
			err = source.Scan(ctx, baseline, func(ctx context.Context, batch capstan.Batch) error {
				return r.take(ctx, batch, stored, packer, sink)
			})
		}
		if err == nil {
			err = stored.rest()
		}
		stored.stop()
		if err != nil {
			return fmt.Errorf("source %s: %w", source.Spec(), err)
		}
	}
	return nil
}

// take hands one batch on. Entries to be stored go to the packer, what an
// interrupted run stored is counted, all others are only recorded.
func (r *backupRun) take(ctx context.Context, batch capstan.Batch, stored *leftovers, packer *archive.Packer, sink *sink) error {
	if batch.Release != nil {
		defer batch.Release()
	}
	var recorded []capstan.Entry
	held := 0
	var err error
	for i := range batch.Items {
		item := &batch.Items[i]
		if err == nil {
			err = stored.upTo(&item.Entry)
		}
		if err != nil {
			if item.Content != nil {
				err = errors.Join(err, item.Content.Close())
			}
			continue
		}
		switch item.Entry.Outcome {
		case capstan.OutcomeStored, capstan.OutcomeChanged:
			err = packer.Add(ctx, item)
		case capstan.OutcomeUnchanged:
			if item.Entry.Archive != 0 { // of this very set, where it is stored
				item.Entry.Outcome = capstan.OutcomeStored
			}
			r.tally.held(&item.Entry)
			held++
		case capstan.OutcomeDeleted:
			if r.before != nil { // else it was in a stale archive only
				recorded = append(recorded, item.Entry)
			}
		case capstan.OutcomeExcluded, capstan.OutcomeVanished, capstan.OutcomeFailed:
			recorded = append(recorded, item.Entry)
		}
	}
	if err == nil && batch.Flush {
		err = packer.Flush(ctx)
	}
	r.Tracker.Count(int64(held), 0, 0)
	r.Tracker.Stage(stageScan).Moved(0, int64(len(batch.Items)))
	if err == nil && len(recorded) > 0 {
		err = sink.record(ctx, recorded)
	}
	return err
}

// adopt counts entries that a sealed archive of this very set holds: the
// catalog has them already, and for this set they are stored.
func (r *backupRun) adopt(entries []capstan.Entry) {
	for i := range entries {
		entries[i].Outcome = capstan.OutcomeStored
	}
	r.tally.entries(entries)
}

// heartbeat keeps the run's row current, and cancels the run when it is asked to.
func (r *backupRun) heartbeat(ctx context.Context, kind string) error {
	return r.beat(ctx, r.run, kind, r.cancel)
}

// tell says what is safe and what to do where a full disk, or a volume that is
// gone, was met by a part that could not know.
func (r *backupRun) tell(ctx context.Context, err error) error {
	if _, told := errors.AsType[*capstan.Error](err); told || err == nil || ctx.Err() != nil {
		return err
	}
	if r.Stage != nil {
		return err // its own errors say it
	}
	if _, gone := r.direct().Free(ctx); errors.Is(gone, capstan.ErrRefused) {
		return errors.Join(gone, err)
	}
	if !errors.Is(err, capstan.ErrNoSpace) {
		return err
	}
	return &capstan.Error{
		Class: capstan.ErrNoSpace, Op: "backup to", Object: r.Volumes[0].Info.Location, Err: err,
		Safe: "the finished files on it are whole", Next: "make room, then run the job again: it goes on with what is finished",
	}
}
