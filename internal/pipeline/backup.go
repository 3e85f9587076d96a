package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/archive"
	"capstan/internal/catalog"
	"capstan/internal/progress"
)

// Backup is what one run of a job shall do.
type Backup struct {
	Job         capstan.JobKey
	JobName     string // empty for an ad hoc job
	Sources     []capstan.Source
	Volume      capstan.Volume
	Codec       capstan.Codec
	Level       int
	ArchiveSize capstan.Bytes // of the tar stream, before compression
	Mode        Mode          // empty: Full
	// Lock is the job's lock, of a caller that does more under it and frees it
	// itself; nil: it is taken for this run.
	Lock *catalog.Lock
}

// Summary is the result of a run, as the command contract promises it.
type Summary struct {
	Type     string                 `json:"type"` // always "summary"
	Run      capstan.RunID          `json:"run"`
	Set      capstan.SetID          `json:"set"`
	Status   capstan.RunStatus      `json:"status"`
	Resumed  bool                   `json:"resumed,omitempty"`
	Archives int                    `json:"archives"`
	Seconds  float64                `json:"seconds"`
	Stages   []progress.StageReport `json:"stages"`
	Bound    string                 `json:"bottleneck,omitempty"`
	Error    string                 `json:"error,omitempty"`
	Problems []Problem              `json:"problems,omitempty"`
	capstan.Counts
}

// cleanupTime bounds what a cancelled run still does to leave true records.
const cleanupTime = 20 * time.Second

// Backup runs a job once and returns what became of it. The summary is valid
// also beside an error. Errors: capstan.ErrLocked when the job is running
// already, capstan.ErrInterrupted when ctx ended it (the next run resumes),
// capstan.ErrIncomplete when the set is partial, any other when it failed.
func (e *Engine) Backup(ctx context.Context, job Backup) (Summary, error) {
	lock, err := e.lockJob(ctx, job)
	if err != nil {
		return Summary{Type: "summary", Status: capstan.RunFailed, Error: err.Error()}, err
	}
	run := &backupRun{Engine: e, Backup: job, started: e.Now()}
	runErr := run.claim(ctx)
	if runErr == nil {
		runErr = run.work(ctx)
	}
	runErr = run.tell(ctx, runErr)
	summary, err := run.finish(ctx, runErr)
	return summary, errors.Join(err, lock.Unlock())
}

type unlocker interface{ Unlock() error }

func (e *Engine) lockJob(ctx context.Context, job Backup) (unlocker, error) {
	specs := make([]string, len(job.Sources))
	for i, source := range job.Sources {
		specs[i] = source.Spec()
	}
	info := job.Volume.Info()
	if err := e.Catalog.EnsureVolume(ctx, info); err != nil {
		return nil, err
	}
	if err := e.Catalog.EnsureJob(ctx, job.Job, job.JobName, specs, []string{info.Location}); err != nil {
		return nil, err
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
	resumed bool
	before  *View // of the set that this one builds on; nil for a full set
	tally   tally
	adopted map[capstan.ArchiveNumber]bool // sealed by an interrupted run of this set
	stale   map[capstan.ArchiveNumber]bool // of these, those that hold what the source has no more
	started time.Time
}

// work packs all sources and completes the set on the volume.
func (r *backupRun) work(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	beatCtx, stop := context.WithCancel(ctx)
	group.Go(func() error { return r.heartbeat(beatCtx) })
	group.Go(func() error {
		defer stop()
		if err := r.pack(ctx); err != nil {
			return err
		}
		if len(r.stale) > 0 {
			if err := r.unseal(ctx); err != nil {
				return err
			}
			if err := r.pack(ctx); err != nil {
				return err
			}
		}
		return r.complete(ctx)
	})
	return group.Wait()
}

// pack drives every entry of the sources into archives on the volume.
func (r *backupRun) pack(ctx context.Context) (err error) {
	baseline, err := r.heldBefore(ctx)
	if err != nil {
		return err
	}
	hooks, done := r.packStages()
	defer done()
	sink := newSink(ctx, r)
	packer := archive.NewPacker(ctx, archive.Options{
		Codec: r.Codec, Level: r.Level, ArchiveSize: r.ArchiveSize,
		Workers: r.Workers, Memory: r.Memory * 3 / 4, Hooks: hooks,
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
		if err == nil {
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
	var recorded, held []capstan.Entry
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
			held = append(held, item.Entry)
		case capstan.OutcomeDeleted:
			if r.before != nil { // else it was in a stale archive only
				recorded = append(recorded, item.Entry)
			}
		case capstan.OutcomeExcluded, capstan.OutcomeVanished, capstan.OutcomeFailed:
			recorded = append(recorded, item.Entry)
		}
	}
	r.tally.entries(held)
	r.Tracker.Count(int64(len(held)), 0, 0)
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

// heartbeat keeps the run's row current, so that other processes can see how far
// it is.
func (r *backupRun) heartbeat(ctx context.Context) error {
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		snapshot, err := json.Marshal(r.Tracker.Snapshot())
		if err == nil {
			err = r.Catalog.Heartbeat(ctx, r.run, snapshot)
		}
		if err != nil && ctx.Err() == nil {
			r.Say("the catalog's progress row could not be updated: %v", err)
		}
	}
}

// tell says what is safe and what to do where a full disk, or a volume that is
// gone, was met by a part that could not know.
func (r *backupRun) tell(ctx context.Context, err error) error {
	if _, told := errors.AsType[*capstan.Error](err); told || err == nil || ctx.Err() != nil {
		return err
	}
	if _, gone := r.Volume.Free(ctx); errors.Is(gone, capstan.ErrRefused) {
		return errors.Join(gone, err)
	}
	if !errors.Is(err, capstan.ErrNoSpace) {
		return err
	}
	return &capstan.Error{
		Class: capstan.ErrNoSpace, Op: "backup to", Object: r.Volume.Info().Location, Err: err,
		Safe: "the finished files on it are whole", Next: "make room, then run the job again: it goes on with what is finished",
	}
}

// finish records how the run ended, in the catalog and in the summary.
func (r *backupRun) finish(ctx context.Context, runErr error) (Summary, error) {
	counts, archives, list := r.tally.read()
	status := capstan.RunComplete
	setStatus := capstan.RunComplete
	switch {
	case runErr != nil && (errors.Is(runErr, capstan.ErrInterrupted) || ctx.Err() != nil):
		status, setStatus = capstan.RunInterrupted, capstan.RunInterrupted
	case runErr != nil:
		// The set stays resumable: its sealed archives are good.
		status, setStatus = capstan.RunFailed, capstan.RunInterrupted
	case counts.Failed > 0:
		status, setStatus = capstan.RunPartial, capstan.RunPartial
	}
	summary := Summary{
		Type: "summary", Run: r.run, Set: r.set.ID, Status: status, Resumed: r.resumed,
		Archives: archives, Seconds: r.Now().Sub(r.started).Seconds(),
		Stages: r.Tracker.Report(), Bound: r.Tracker.Bottleneck(),
		Problems: list.List, Counts: counts,
	}
	if runErr != nil {
		summary.Error = runErr.Error()
	}
	if r.set.ID == "" {
		return summary, runErr
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	text, err := json.Marshal(summary)
	if err == nil {
		err = r.Catalog.SetStatus(cleanup, r.set.ID, setStatus, counts)
	}
	if r.run != 0 { // else the end came before it stood in the catalog
		err = errors.Join(err, r.Catalog.FinishRun(cleanup, r.run, status, counts, text))
	}
	if err != nil && runErr == nil { // the catalog could not say so: it is not so
		summary.Status, summary.Error = capstan.RunFailed, err.Error()
	}
	switch {
	case runErr != nil:
		err = errors.Join(runErr, err)
	case err == nil && status == capstan.RunPartial:
		err = &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "set", Object: string(r.set.ID),
			Err:  fmt.Errorf("%d of %d entries could not be read", counts.Failed, counts.Entries),
			Safe: "all others are stored", Next: "see: capstan show " + string(r.set.ID),
		}
	}
	return summary, err
}
