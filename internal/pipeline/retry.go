package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/copier"
	"capstan/internal/envelope"
	"capstan/internal/stage"
)

const kindRetry = "retry"

// Retry is what one call to bring a set to the volumes that lack it shall do.
type Retry struct {
	Run capstan.RunID // that left the set where it is
	// Stage opens the stage that holds the set's archives; a nil stage means that
	// they are on other volumes.
	Stage    func(ctx context.Context, set capstan.SetID) (*stage.Stage, error)
	Limit    *copier.Limit
	Patience Patience
	// Passphrase is that of a set that is encrypted with one; nil: none was given.
	Passphrase envelope.Passphrase
}

// Retry tries the copies again that a run gave up, and finishes the set on their
// volumes. Errors: capstan.ErrNotFound for a run that is not there,
// capstan.ErrRefused for a set that its job resumes, capstan.ErrLocked,
// capstan.ErrInterrupted and capstan.ErrIncomplete as of Backup.
func (e *Engine) Retry(ctx context.Context, job Retry) (Summary, error) {
	set, lacking, lock, err := e.lockSet(ctx, job.Run)
	if err != nil {
		return Summary{Type: "summary", Set: set.ID, Status: capstan.RunFailed, Error: err.Error()}, err
	}
	run := &backupRun{Engine: e, set: set, resumed: true, started: e.Now()}
	run.Job, run.Limit, run.Patience = set.Job, job.Limit, job.Patience
	run.tally.counts = set.Counts
	run.counted.Do(func() {}) // the set's own files were counted
	for _, info := range lacking {
		run.Volumes = append(run.Volumes, copier.Volume{Info: info})
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run.cancel = cancel
	runErr, stuck := e.watched(ctx, cancel, job.Patience, run, func(ctx context.Context) error { return run.retry(ctx, job) })
	summary, err := run.finishRetry(ctx, runErr)
	if stuck {
		return summary, err
	}
	run.leave(ctx)
	return summary, errors.Join(err, lock.Unlock())
}

// lockSet finds the set of a run, locks its job, and tells which volumes do not
// have all of the set. Under the lock, retries that still say they run have lost
// their processes.
func (e *Engine) lockSet(ctx context.Context, id capstan.RunID) (set capstan.Set, lacking []capstan.VolumeInfo, lock *catalog.Lock, err error) {
	run, err := e.Catalog.Run(ctx, id)
	if err != nil {
		return set, nil, nil, err
	}
	if run.Set == "" {
		return set, nil, nil, &capstan.Error{
			Class: capstan.ErrRefused, Op: "run", Object: fmt.Sprint(id), Err: errors.New("it made no set"), Safe: "nothing was changed",
		}
	}
	if set, err = e.Catalog.Set(ctx, run.Set); err != nil {
		return set, nil, nil, err
	}
	if lock, err = e.Catalog.LockJob(ctx, set.Job); err != nil {
		return set, nil, nil, err
	}
	_, err = e.Catalog.InterruptRuns(ctx, set.Job, kindRetry)
	if err == nil {
		set, err = e.Catalog.Set(ctx, set.ID) // as the last holder of the lock left it
	}
	if err == nil {
		lacking, err = e.lacking(ctx, set.ID)
	}
	if err != nil {
		return set, nil, nil, errors.Join(err, lock.Unlock())
	}
	return set, lacking, lock, nil
}

// lacking gives the volumes that do not have all of a set and shall: also those
// on which a verification found copies damaged or missing, if all of them are
// whole on another volume. What is whole nowhere is left as it is, so that a
// restore finds what is left in it.
func (e *Engine) lacking(ctx context.Context, set capstan.SetID) (volumes []capstan.VolumeInfo, err error) {
	demands, err := e.Catalog.Demands(ctx, set)
	if err != nil {
		return nil, err
	}
	copies, err := e.Catalog.Copies(ctx, set)
	if err != nil {
		return nil, err
	}
	bad, hopeless := map[capstan.VolumeID]bool{}, map[capstan.VolumeID]bool{}
	for _, c := range copies {
		if c.State == capstan.CopyDamaged || c.State == capstan.CopyMissing {
			bad[c.Volume] = true
			hopeless[c.Volume] = hopeless[c.Volume] || !wholeSomewhere(copies, c.Number)
		}
	}
	for _, d := range demands {
		mend := bad[d.Volume] && !hopeless[d.Volume]
		if d.State == capstan.CopyWritten && !mend || d.State == capstan.CopyForgotten {
			continue
		}
		info, err := e.Catalog.Volume(ctx, d.Volume)
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, info)
	}
	return volumes, nil
}

// wholeSomewhere reports whether a volume has an archive as it was written.
func wholeSomewhere(copies []capstan.Copy, number capstan.ArchiveNumber) bool {
	return slices.ContainsFunc(copies, func(c capstan.Copy) bool {
		return c.Number == number && (c.State == capstan.CopyWritten || c.State == capstan.CopyVerified)
	})
}

// lost is the error of a set of which an archive is whole nowhere; nil if none is.
func (e *Engine) lost(ctx context.Context, set capstan.SetID) error {
	copies, err := e.Catalog.Copies(ctx, set)
	if err != nil {
		return err
	}
	for _, c := range copies {
		if (c.State == capstan.CopyDamaged || c.State == capstan.CopyMissing) && !wholeSomewhere(copies, c.Number) {
			return &capstan.Error{
				Class: capstan.ErrIncomplete, Op: "retry set", Object: string(set),
				Err:  fmt.Errorf("archive %d is damaged or missing on every volume that had it", c.Number),
				Safe: "nothing was changed; all else, and what is left in it, can be restored", Next: "make a new full backup",
			}
		}
	}
	return nil
}

// retry is the work of Retry.
func (r *backupRun) retry(ctx context.Context, job Retry) (err error) {
	switch {
	case r.set.Status == capstan.RunFailed:
		return givenUp("retry set", r.set.ID)
	case !finished(r.set):
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "retry set", Object: string(r.set.ID), Err: errors.New("its run was interrupted"),
			Safe: "nothing was changed", Next: "run its job again: it resumes",
		}
	case len(r.Volumes) == 0:
		if err := r.lost(ctx, r.set.ID); err != nil {
			return err
		}
		if r.Stage, err = job.Stage(ctx, r.set.ID); err != nil { // whoever opens it clears it of what a killed retry has left
			return err
		}
		r.Say("set %s lacks nothing: every volume that shall hold it has it", r.set.ID)
		return r.rate(ctx) // whoever brought the last of it may have been killed before the verdict
	}
	if r.set.Base != "" {
		if r.before, err = r.View(ctx, r.set.Base); err != nil {
			return err
		}
	}
	if r.Stage, err = job.Stage(ctx, r.set.ID); err != nil {
		return err
	}
	if err := r.sealAgain(ctx, job.Passphrase); err != nil {
		return err
	}
	if r.Stage != nil {
		if err := r.Stage.ClaimSet(ctx, r.set.ID); err != nil {
			return err
		}
	}
	longer, stop := catalog.Outlive(ctx, cleanupTime)
	defer stop()
	if r.run, err = r.Catalog.BeginRun(longer, r.set.ID, r.Job, kindRetry, r.started); err != nil {
		return err
	}
	if err := r.Catalog.Demand(ctx, r.set.ID, r.volumeIDs()...); err != nil {
		return err
	}
	beat, end := context.WithCancel(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		_ = r.heartbeat(beat, kindRetry) // it ends with beat, or says itself what failed
	}()
	r.queue.Store(copier.Start(ctx, r.copierOptions(r.finishVolume), r.set.ID, r.Volumes))
	err = r.drain(ctx)
	end()
	<-beating
	return err
}

// finishRetry records how the retry ended: the set is what its volumes say, the
// run is what became of it.
func (r *backupRun) finishRetry(ctx context.Context, runErr error) (Summary, error) {
	outcomes := r.volumeOutcomes()
	status, runErr := endOf(ctx, runErr)
	if runErr == nil && (lacks(outcomes) > 0 || r.set.Counts.Failed > 0) {
		status = capstan.RunPartial
	}
	summary := r.summary(status, runErr)
	summary.Counts = r.set.Counts
	if r.run == 0 {
		return summary, runErr
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	err := r.rate(cleanup)
	if err != nil && runErr == nil { // the catalog could not say so: it is not so
		status = capstan.RunFailed
		summary.Status, summary.Error = status, err.Error()
	}
	text, jsonErr := json.Marshal(summary)
	err = errors.Join(err, jsonErr, r.Catalog.FinishRun(cleanup, r.run, status, r.set.Counts, text))
	if err != nil && runErr == nil {
		summary.Status, summary.Error = capstan.RunFailed, err.Error()
	}
	switch {
	case runErr != nil:
		return summary, errors.Join(runErr, err)
	case err == nil && lacks(outcomes) > 0:
		err = lackingError(r.set.ID, r.run, r.set.Counts, outcomes)
	}
	return summary, err
}

// rate sets the status of a finished set from what is in the catalog. A set of
// which an archive was given up for good has failed; one that is whole on no volume
// is partial, whatever nobody asks for any more.
func (r *backupRun) rate(ctx context.Context) error {
	demands, err := r.Catalog.Demands(ctx, r.set.ID)
	if err != nil {
		return err
	}
	status, whole := capstan.RunComplete, 0
	for _, d := range demands {
		switch d.State {
		case capstan.CopyWritten:
			whole++
		case capstan.CopyForgotten:
		default:
			status = capstan.RunPartial
		}
	}
	if r.set.Counts.Failed > 0 || whole == 0 {
		status = capstan.RunPartial
	}
	if whole == 0 && !slices.ContainsFunc(demands, func(d capstan.Demand) bool { return d.State != capstan.CopyForgotten }) {
		nowhere, err := r.onlyStaged(ctx, r.set.ID)
		if err != nil {
			return err
		}
		if len(nowhere) > 0 {
			status = capstan.RunFailed
		}
	}
	return r.Catalog.SetStatus(ctx, r.set.ID, status, r.set.Counts)
}
