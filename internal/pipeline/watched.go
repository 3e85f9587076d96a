package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/copier"
	"capstan/internal/progress"
)

// Patience is how long a run may stand still.
type Patience struct {
	Warn time.Duration // then people are told, again and again; 0: never
	Fail time.Duration // then what stands still is cut off, or the run is cancelled; 0: never
	// Attempts is how often a copy is tried before it waits for a person; 0 means 5.
	Attempts int
	// Grace is what a cancelled run has to end; then it is left behind. 0 means 30 s,
	// more than its last records may take.
	Grace time.Duration
}

var errStalled = errors.New("stalled")

// limits are those of the watchdog. A full stage, a turn or a person may be
// waited for without end; the volume that a stage waits for has its own stage.
func (p Patience) limits() progress.Limits {
	limit := progress.Limit{Warn: p.Warn, Fail: p.Fail}
	told := progress.Limit{Warn: p.Warn}
	return progress.Limits{
		Still: limit,
		Waits: map[progress.Resource]progress.Limit{
			progress.ForVolume: limit, progress.ForDrive: limit, progress.ForNetwork: limit,
			progress.ForSource: limit, progress.ForServer: limit, progress.ForCatalog: limit, forStart: limit,
			progress.ForLock: told, progress.ForSpace: told,
		},
		Grace: p.Grace,
	}
}

// cutter can do without a part of its work.
type cutter interface {
	// cut cuts off a stage, and reports whether it was one that the run can do without.
	cut(stage string, cause error) bool
	// hint says what is safe and which command comes next, after a stall of a stage.
	hint(stage string) (safe, next string)
}

// watched does a run's work under the watchdog and gives its error. When the work
// has not returned a grace after ctx was cancelled, by whomever, stuck is true:
// it is left behind, and the error says where it hangs.
func (e *Engine) watched(ctx context.Context, cancel context.CancelCauseFunc, p Patience, run cutter, work func(context.Context) error) (err error, stuck bool) {
	if p.Grace == 0 {
		p.Grace = 30 * time.Second
	}
	err, stuck = e.watchedBy(ctx, cancel, p.limits(), p, run, work)
	if stall := context.Cause(ctx); err != nil && !stuck && stall != nil && errors.Is(stall, errStalled) {
		return stall, false // not what it became on its way up
	}
	return err, stuck
}

// watchedBy is watched with limits of one's own, for a work that lasts.
func (e *Engine) watchedBy(ctx context.Context, cancel context.CancelCauseFunc, limits progress.Limits, p Patience, run cutter, work func(context.Context) error) (err error, stuck bool) {
	alive, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		_ = e.Tracker.Watch(alive, limits, progress.Actions{
			Warn: func(s *progress.Stall) { e.warn(s, run, p) },
			Cut:  func(s *progress.Stall) bool { return e.cutOff(s, run) },
			Fail: func(s *progress.Stall) {
				cancel(e.stalled(s, run))
				if where := e.dumped(s); where != "" { // takes its time where it is the home that hangs
					e.Warn("stalled: stage %s%s", s.Stage, where)
				}
			},
		}) // its error is the end of alive, or what Fail was told
	}()
	defer func() {
		over()
		<-watching
	}()
	result := make(chan error, 1)
	go func() { result <- work(ctx) }()
	select {
	case err := <-result:
		return err, false
	case <-ctx.Done():
	}
	timer := time.NewTimer(p.Grace)
	defer timer.Stop()
	select {
	case err := <-result:
		return err, false
	case <-timer.C:
	}
	err = fmt.Errorf("left behind where it does not end: %s", e.hanging())
	e.Warn("the run is over, but %v", err)
	return errors.Join(context.Cause(ctx), err), true
}

// hanging names the stages that are at work still.
func (e *Engine) hanging() string {
	text := ""
	for _, s := range e.Tracker.Snapshot().Stages {
		if s.Active == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += "stage " + s.Name
		if s.Object != "" {
			text += " at " + s.Object
		}
		if s.Waiting != "" {
			text += fmt.Sprintf(" (waiting for %s)", s.Waiting)
		}
	}
	return text
}

// warn tells people of a stage that stands still.
func (e *Engine) warn(s *progress.Stall, run cutter, p Patience) {
	safe, next := run.hint(s.Stage)
	if p.Fail > 0 && (s.Waiting == "" || p.limits().Waits[s.Waiting].Fail > 0) {
		next = fmt.Sprintf("it is cut off after %v; %s", p.Fail, next)
	}
	e.Warn("stalled: %v; safe: %s; next: %s", s, safe, next)
}

// cutOff cuts off the stage that stands still, if the run can do without it.
func (e *Engine) cutOff(s *progress.Stall, run cutter) bool {
	if !run.cut(s.Stage, s) {
		return false
	}
	safe, next := run.hint(s.Stage)
	e.Warn("cut off: %v; safe: %s; next: %s%s", s, safe, next, e.dumped(s))
	return true
}

// stalled is the cause with which a run is cancelled that cannot do without the stage.
func (e *Engine) stalled(s *progress.Stall, run cutter) error {
	safe, next := run.hint(s.Stage)
	return &capstan.Error{Op: "run", Err: fmt.Errorf("%w: %w", errStalled, s), Safe: safe, Next: next}
}

// dumped keeps the stacks and says where they are.
func (e *Engine) dumped(s *progress.Stall) string {
	if e.Dump == nil || s.Stacks == "" {
		return ""
	}
	if where := e.Dump(s.Error() + "\n\n" + s.Stacks); where != "" {
		return "; the stacks are in " + where
	}
	return ""
}

// cut implements cutter.
func (r *backupRun) cut(stage string, cause error) bool {
	queue := r.queue.Load()
	return queue != nil && queue.Cut(stage, cause)
}

// hint implements cutter.
func (r *backupRun) hint(stage string) (safe, next string) {
	safe, next = "sealed archives are on the volume", "look at what it waits for; if the run ends, the next backup of the job resumes"
	if r.Consolidates != "" {
		next = "look at what it waits for; if the run ends, the same call resumes"
	}
	if r.Stage != nil {
		safe = "sealed archives are in the stage or on their volumes"
	}
	if copier.IsStage(stage) {
		safe = "sealed archives are in the stage and stay there, other volumes go on"
		next = fmt.Sprintf("look at the volume; later: capstan retry %d", r.run)
	}
	return safe, next
}
