package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"capstan"
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
	failed := Summary{Type: "summary", Status: capstan.RunFailed}
	set, lacking, err := e.lacking(ctx, job.Run)
	if err != nil {
		failed.Error = err.Error()
		return failed, err
	}
	failed.Set = set.ID
	lock, err := e.Catalog.LockJob(ctx, set.Job)
	if err != nil {
		failed.Error = err.Error()
		return failed, err
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

// lacking finds the set of a run, and the volumes that do not have all of it.
func (e *Engine) lacking(ctx context.Context, id capstan.RunID) (set capstan.Set, volumes []capstan.VolumeInfo, err error) {
	run, err := e.Catalog.Run(ctx, id)
	if err != nil {
		return set, nil, err
	}
	if run.Set == "" {
		return set, nil, &capstan.Error{
			Class: capstan.ErrRefused, Op: "run", Object: fmt.Sprint(id), Err: errors.New("it made no set"), Safe: "nothing was changed",
		}
	}
	if set, err = e.Catalog.Set(ctx, run.Set); err != nil {
		return set, nil, err
	}
	demands, err := e.Catalog.Demands(ctx, set.ID)
	if err != nil {
		return set, nil, err
	}
	for _, d := range demands {
		if d.State == capstan.CopyWritten || d.State == capstan.CopyForgotten {
			continue
		}
		info, err := e.Catalog.Volume(ctx, d.Volume)
		if err != nil {
			return set, nil, err
		}
		volumes = append(volumes, info)
	}
	return set, volumes, nil
}

// retry is the work of Retry.
func (r *backupRun) retry(ctx context.Context, job Retry) (err error) {
	switch {
	case r.set.Status != capstan.RunComplete && r.set.Status != capstan.RunPartial:
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "retry set", Object: string(r.set.ID), Err: fmt.Errorf("it is %s", r.set.Status),
			Safe: "nothing was changed", Next: "run its job again: it resumes",
		}
	case len(r.Volumes) == 0:
		r.Say("set %s lacks nothing: every volume that shall hold it has it", r.set.ID)
		return nil
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
	longer, stop := outlive(ctx)
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
	text, jsonErr := json.Marshal(summary)
	err = errors.Join(err, jsonErr, r.Catalog.FinishRun(cleanup, r.run, status, r.set.Counts, text))
	switch {
	case runErr != nil:
		return summary, errors.Join(runErr, err)
	case err == nil && lacks(outcomes) > 0:
		err = lackingError(r.set.ID, r.run, r.set.Counts, outcomes)
	}
	return summary, err
}

// rate sets the status of a finished set from what is in the catalog.
func (r *backupRun) rate(ctx context.Context) error {
	demands, err := r.Catalog.Demands(ctx, r.set.ID)
	if err != nil {
		return err
	}
	status := capstan.RunComplete
	if r.set.Counts.Failed > 0 {
		status = capstan.RunPartial
	}
	for _, d := range demands {
		if d.State != capstan.CopyWritten && d.State != capstan.CopyForgotten {
			status = capstan.RunPartial
		}
	}
	return r.Catalog.SetStatus(ctx, r.set.ID, status, r.set.Counts)
}

// Abandon gives up what volumes lack of a run's set: nobody wants it there any
// more. It is refused (capstan.ErrRefused) where the stage holds the only bytes of
// an archive, unless lose is true. The set of a run that was interrupted is not
// resumed any more. It gives the number of archives that were removed from the stage.
func (e *Engine) Abandon(ctx context.Context, id capstan.RunID, lose bool, open func(ctx context.Context, set capstan.SetID) (*stage.Stage, error)) (removed int, err error) {
	set, volumes, err := e.lacking(ctx, id)
	if err != nil {
		return 0, err
	}
	lock, err := e.Catalog.LockJob(ctx, set.Job)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	finished := set.Status == capstan.RunComplete || set.Status == capstan.RunPartial
	if finished && len(volumes) == 0 {
		return 0, &capstan.Error{
			Class: capstan.ErrRefused, Op: "abandon run", Object: fmt.Sprint(id),
			Err: fmt.Errorf("set %s lacks nothing", set.ID), Safe: "nothing was changed",
		}
	}
	only, err := e.onlyStaged(ctx, set.ID)
	if err != nil {
		return 0, err
	}
	if finished && len(only) > 0 && !lose {
		return 0, &capstan.Error{
			Class: capstan.ErrRefused, Op: "abandon run", Object: fmt.Sprint(id),
			Err:  fmt.Errorf("%s of set %s is on no volume: the stage holds the only copy", only[0], set.ID),
			Safe: "nothing was changed", Next: fmt.Sprintf("capstan retry %d, or, to lose it: capstan abandon %d --lose-data", id, id),
		}
	}
	staged, err := open(ctx, set.ID)
	if err != nil {
		return 0, err
	}
	for _, volume := range volumes {
		if err := e.Catalog.AbandonDemand(ctx, set.ID, volume.ID); err != nil {
			return 0, err
		}
	}
	run := &backupRun{Engine: e, set: set}
	if finished {
		err = run.rate(ctx)
	} else {
		err = e.Catalog.SetStatus(ctx, set.ID, capstan.RunFailed, set.Counts)
	}
	if err == nil {
		err = e.Catalog.Audit(ctx, "abandon", string(set.ID), fmt.Sprintf("run %d, %d volumes, %d archives lost", id, len(volumes), len(only)))
	}
	if err != nil || staged == nil {
		return 0, err
	}
	return e.unstage(ctx, staged, set.ID)
}

// onlyStaged names the archives of a set that are on no volume.
func (e *Engine) onlyStaged(ctx context.Context, id capstan.SetID) (names []string, err error) {
	archives, err := e.Catalog.Archives(ctx, id)
	if err != nil {
		return nil, err
	}
	copies, err := e.Catalog.Copies(ctx, id)
	if err != nil {
		return nil, err
	}
	good := map[capstan.ArchiveNumber]bool{}
	for _, c := range copies {
		good[c.Number] = good[c.Number] || c.State == capstan.CopyWritten || c.State == capstan.CopyVerified
	}
	for _, a := range archives {
		if !good[a.Number] {
			names = append(names, a.Name)
		}
	}
	return names, nil
}

// unstage removes all of a set from the stage.
func (e *Engine) unstage(ctx context.Context, s *stage.Stage, id capstan.SetID) (int, error) {
	files, err := s.List(ctx, id)
	if err != nil {
		return 0, err
	}
	for i, file := range files {
		if err := s.Remove(ctx, id, file.Name); err != nil {
			return i, err
		}
	}
	return len(files), nil
}
