package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/config"
	"capstan/internal/copier"
	"capstan/internal/hook"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
	"capstan/internal/stage"
)

// forHook is what the stages pre and post wait for.
const forHook progress.Resource = "hook"

// recordTime bounds how long a run that did not begin may take to be recorded.
const recordTime = 20 * time.Second

// Plan is what one run shall do.
type Plan struct {
	// Name is that of a configured job, and its key; empty for an ad hoc run.
	Name string
	// Open makes the sources and opens the volumes, which Run closes, and the stage.
	Open func(ctx context.Context) (Opened, error)
	// AdHoc gives the key of a run without a name.
	AdHoc func([]capstan.Source, []copier.Volume) capstan.JobKey
	// Backup says how archives are made; Run fills in the rest of it.
	Backup    pipeline.Backup
	Pre, Post []config.Hook
	// Forget says which sets of the job are let go after a complete backup; nil:
	// none. Of a named job only.
	Forget *pipeline.Forget
}

// Opened is what a plan works on.
type Opened struct {
	Sources []capstan.Source
	Volumes []copier.Volume
	Stage   *stage.Stage // of whoever opened it; nil: none is needed
}

// close closes the volumes of a plan that did not come to its backup.
func (o *Opened) close() error {
	var errs []error
	for _, v := range o.Volumes {
		if v.Opened != nil {
			errs = append(errs, v.Opened.Close())
		}
	}
	return errors.Join(errs...)
}

// Runner runs plans; all its fields are set once.
type Runner struct {
	Engine *pipeline.Engine
	// Warn tells people of what went wrong beside the backup; it never blocks.
	Warn func(format string, args ...any)
}

// Run carries a plan out once. The summary is valid also beside an error; its Run
// is 0 if nothing was begun, and its Set empty if a pre hook ended the run. The
// errors are those of Engine.Backup, and plain ones of hooks that failed.
func (r Runner) Run(ctx context.Context, p Plan) (pipeline.Summary, error) {
	if p.Name != "" {
		key := capstan.JobKey(p.Name)
		return r.guarded(ctx, p, key, func(ctx context.Context, lock *catalog.Lock) (pipeline.Summary, error) {
			opened, err := r.open(ctx, p)
			if err != nil {
				return notBegun(err), err
			}
			summary, err := r.backup(ctx, p.backup(key, lock), opened)
			return r.forget(ctx, p, lock, summary, err)
		})
	}
	opened, err := r.open(ctx, p)
	if err != nil {
		return notBegun(err), err
	}
	key := p.AdHoc(opened.Sources, opened.Volumes)
	if len(p.Pre)+len(p.Post) == 0 {
		return r.backup(ctx, p.backup(key, nil), opened)
	}
	handedOn := false
	summary, err := r.guarded(ctx, p, key, func(ctx context.Context, lock *catalog.Lock) (pipeline.Summary, error) {
		handedOn = true
		return r.backup(ctx, p.backup(key, lock), opened)
	})
	if !handedOn {
		err = errors.Join(err, opened.close())
	}
	return summary, err
}

// backup is what the engine is told, but for sources and volume.
func (p *Plan) backup(key capstan.JobKey, lock *catalog.Lock) pipeline.Backup {
	b := p.Backup
	b.Job, b.JobName, b.Lock = key, p.Name, lock
	return b
}

// backup makes the backup, which closes the volumes: a hook after it may unmount them.
func (r Runner) backup(ctx context.Context, b pipeline.Backup, opened Opened) (pipeline.Summary, error) {
	b.Sources, b.Volumes, b.Stage = opened.Sources, opened.Volumes, opened.Stage
	if b.Consolidates != "" {
		return r.Engine.Consolidate(ctx, b)
	}
	return r.Engine.Backup(ctx, b)
}

// OpenStage is the stage in which sources, stage and volumes are opened. Who opens
// them says by its object at which it is.
const OpenStage = "open"

// sayAfter is how long the opening may take before people are told, again and
// again: any of the calls in it may hang in a filesystem that does not answer.
const sayAfter = 10 * time.Second

// leastOpen is what the opening has however small the run's patience is: it moves
// nothing that could be watched.
const leastOpen = 20 * time.Second

// open opens what the plan works on, for no longer than the run may stand still. When
// that time is over, or ctx ends first, a call that hangs is left behind, and closes
// what it opens by itself.
func (r Runner) open(ctx context.Context, p Plan) (Opened, error) {
	stage := r.Engine.Tracker.Stage(OpenStage)
	stage.Begin()
	defer stage.End()
	defer stage.Wait(progress.ForVolume, "sources and volumes to answer")()
	type result struct {
		opened Opened
		err    error
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if limit := p.Backup.Patience.Fail; limit > 0 {
		limit = max(limit, leastOpen)
		defer time.AfterFunc(limit, func() { cancel(r.silent(limit)) }).Stop()
	}
	results := make(chan result)
	go func() {
		opened, err := p.Open(ctx)
		select {
		case results <- result{opened, err}:
		case <-ctx.Done():
			_ = opened.close() // nobody waits for it any more
		}
	}()
	ticker := time.NewTicker(sayAfter)
	defer ticker.Stop()
	began := time.Now()
	for {
		select {
		case got := <-results:
			return got.opened, got.err
		case <-ctx.Done():
			return Opened{}, context.Cause(ctx)
		case <-ticker.C:
			r.Warn("a source, the stage or a volume has not answered for %s", time.Since(began).Round(time.Second))
		}
	}
}

// silent is the cause with which a run ends that could not open what it works on.
func (r Runner) silent(limit time.Duration) error {
	object := ""
	for _, stage := range r.Engine.Tracker.Snapshot().Stages {
		if stage.Name == OpenStage {
			object = stage.Object
		}
	}
	return &capstan.Error{
		Op: "open", Object: object, Err: fmt.Errorf("stalled: a source, the stage or a volume has not answered for %s", limit),
		Safe: "nothing was begun", Next: "look at their filesystems, then run the job again",
	}
}

// forget applies the job's policy after a complete backup, before hooks may unmount
// the volumes. A volume that does not answer is told; the backup is none the worse.
func (r Runner) forget(ctx context.Context, p Plan, lock *catalog.Lock, summary pipeline.Summary, err error) (pipeline.Summary, error) {
	if p.Forget == nil || err != nil {
		return summary, err
	}
	forget := *p.Forget
	forget.Job, forget.Lock, forget.Why = capstan.JobKey(p.Name), lock, fmt.Sprintf("after run %d, keep %s", summary.Run, forget.Rules)
	done, err := r.Engine.Forget(ctx, forget)
	summary.Forgotten = done.Plan.LetGo()
	if errors.Is(err, capstan.ErrIncomplete) {
		r.Warn("%v", err)
		return summary, nil
	}
	if err != nil {
		err = fmt.Errorf("set %s is stored, but the job's policy could not be applied: %w", summary.Set, err)
	}
	return summary, err
}

// guarded does work between the hooks of the plan, under the job's lock. A run
// that fails before the engine records it is recorded here.
func (r Runner) guarded(ctx context.Context, p Plan, key capstan.JobKey, work func(context.Context, *catalog.Lock) (pipeline.Summary, error)) (pipeline.Summary, error) {
	lock, err := r.Engine.Catalog.LockJob(ctx, key)
	if err != nil {
		return notBegun(err), err
	}
	started := r.Engine.Now()
	var summary pipeline.Summary
	err = r.stage(p.Pre, hook.Call{Job: key}, func(call hook.Call) error { return hook.Before(ctx, p.Pre, call) })
	if err == nil {
		summary, err = work(ctx, lock)
	}
	if summary.Run == 0 {
		summary, err = r.record(ctx, key, started, err)
	}
	// Commands that clean up also follow a run that was interrupted.
	after := context.WithoutCancel(ctx)
	if ctx.Err() != nil && len(p.Post) > 0 {
		r.Warn("the run is interrupted; its post hooks are still run")
	}
	call := hook.Call{Job: key, Set: summary.Set, Run: summary.Run, Status: summary.Status}
	failed := r.stage(p.Post, call, func(call hook.Call) error { return hook.After(after, p.Post, call) })
	return summary, errors.Join(err, failed, lock.Unlock())
}

// stage runs hooks as a stage that waits for each of them.
func (r Runner) stage(hooks []config.Hook, call hook.Call, run func(hook.Call) error) error {
	if len(hooks) == 0 {
		return nil
	}
	stage := r.Engine.Tracker.Stage(string(hooks[0].Phase))
	stage.Begin()
	defer stage.End()
	call.Say, call.Warn = r.Engine.Say, r.Warn
	call.Begin = func(command string) func() {
		stage.Object(command)
		done := stage.Wait(forHook, command)
		return func() {
			done()
			stage.Moved(0, 1)
		}
	}
	return run(call)
}

// notBegun is the summary of a run that did not come to a record of its own.
func notBegun(err error) pipeline.Summary {
	return pipeline.Summary{Type: "summary", Status: capstan.RunFailed, Error: err.Error()}
}

// record keeps in the catalog that a run ended before its backup began: a job
// that does not come to its backup must not look like one that was not started.
func (r Runner) record(ctx context.Context, key capstan.JobKey, started time.Time, runErr error) (pipeline.Summary, error) {
	summary := notBegun(runErr)
	if errors.Is(runErr, capstan.ErrInterrupted) || ctx.Err() != nil {
		summary.Status = capstan.RunInterrupted
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	id, err := r.Engine.Catalog.BeginRun(ctx, "", key, "backup", started)
	if err != nil {
		return summary, errors.Join(runErr, err)
	}
	summary.Run = id
	summary.Seconds, summary.Stages = r.Engine.Now().Sub(started).Seconds(), r.Engine.Tracker.Report()
	text, err := json.Marshal(summary)
	if err == nil {
		err = r.Engine.Catalog.FinishRun(ctx, id, summary.Status, capstan.Counts{}, text)
	}
	return summary, errors.Join(runErr, err)
}
