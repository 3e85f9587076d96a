package progress

import (
	"context"
	"time"
)

// Limit says how long a stage may be still. Zero means for ever.
type Limit struct {
	Warn time.Duration // then Actions.Warn is called, again after each further Warn
	Fail time.Duration // then Actions.Fail is called, once
}

// Limits are the patience of a watchdog.
type Limits struct {
	// Still is for stages that neither move nor declare a wait, and for a circle of
	// stages that all wait for each other.
	Still Limit
	// Stages replaces Still for single stages.
	Stages map[string]Limit
	// Waits is for declared waits. A resource that is not in it may be waited for
	// without end; ForPerson is never limited.
	Waits map[Resource]Limit
	// Grace is the time that Fail's cancellation has to end the run before
	// Actions.Stuck is called.
	Grace time.Duration
	// Every is the time between two looks; 0 means one second. A gap between two
	// looks that is much longer (a stopped process, a suspended machine) is
	// not held against the stages.
	Every time.Duration
}

// Actions are what a watchdog does. They are called from the goroutine of Watch
// and must not block; nil ones are left out.
type Actions struct {
	Warn func(*Stall) // tell people: a message, a metric, the health page
	// Cut cuts off the work of the stalled stage alone, if the run can go on without
	// it, and reports whether it did; the stage is then left alone until it moves or
	// waits anew. Otherwise Fail is called.
	Cut   func(*Stall) bool
	Fail  func(*Stall) // cancel the run with the stall as cause; the stall carries the goroutine stacks
	Stuck func(*Stall) // the run did not end within the grace: mark it stuck, fence the drive
}

// Watch looks at the stages until ctx ends and returns its cause. ctx must end
// when the run has ended, not already when it is cancelled: else a run that
// does not react to its cancellation is seen by nobody. After Stuck it returns the stall.
func (t *Tracker) Watch(ctx context.Context, limits Limits, actions Actions) error {
	if limits.Every <= 0 {
		limits.Every = time.Second
	}
	w := &watchdog{limits: limits, actions: actions, still: map[string]*stillness{}, cut: map[string]StageState{}, last: t.now()}
	ticker := time.NewTicker(limits.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if stall := w.look(t.Snapshot()); stall != nil {
			return stall
		}
	}
}

// watchdog is the memory of one Watch.
type watchdog struct {
	limits  Limits
	actions Actions
	still   map[string]*stillness // by stage
	last    time.Time             // of the last look
	cut     map[string]StageState // stages that were cut off, as they were then
	failed  *Stall
	grace   time.Duration // since failed
}

// stillness is how long a stage has been seen in one place. Both lengths grow by
// no more than the time between two looks.
type stillness struct {
	moves  uint64
	idle   time.Duration    // StageState.Idle at the last look
	still  time.Duration    // without heartbeat, declared waits left out
	begun  time.Time        // of the present wait; zero while there is none
	waited time.Duration    // in it
	warned [2]time.Duration // still and waited at their last warnings
}

// look judges one snapshot; it gives the stall once the run is stuck.
func (w *watchdog) look(snap Snapshot) *Stall {
	passed := min(snap.Time.Sub(w.last), 2*w.limits.Every)
	w.last = snap.Time
	if w.failed != nil {
		w.grace += passed
		if w.grace < w.limits.Grace {
			return nil
		}
		if w.actions.Stuck != nil {
			w.actions.Stuck(w.failed)
		}
		return w.failed
	}
	for _, state := range snap.Stages {
		if state.Active == 0 {
			delete(w.still, state.Name)
			continue
		}
		w.observe(state, passed)
	}
	circle := w.circle(snap.Stages)
	for _, state := range snap.Stages {
		seen := w.still[state.Name]
		if seen == nil || w.isCut(state) {
			continue
		}
		limit, length, warned := w.judge(state, seen, circle)
		if limit.Fail > 0 && length >= limit.Fail {
			if ended := w.fail(state, length); ended {
				return nil
			}
			continue
		}
		if limit.Warn > 0 && length-*warned >= limit.Warn {
			*warned = length
			if w.actions.Warn != nil {
				w.actions.Warn(stall(state, length))
			}
		}
	}
	return nil
}

// observe adds the time that passed to the stillness of an active stage, or starts
// it anew after a heartbeat or with a new wait.
func (w *watchdog) observe(state StageState, passed time.Duration) {
	seen := w.still[state.Name]
	if seen == nil {
		seen = &stillness{moves: state.Moves}
		w.still[state.Name] = seen
	}
	if seen.moves != state.Moves || state.Idle < seen.idle {
		seen.moves, seen.idle, seen.still, seen.warned[0] = state.Moves, 0, 0, 0
	}
	seen.still += min(state.Idle-seen.idle, passed)
	seen.idle = state.Idle
	var begun time.Time
	if state.Waiting != "" {
		begun = state.Since
	}
	if !begun.Equal(seen.begun) {
		seen.begun, seen.waited, seen.warned[1] = begun, 0, 0
	}
	if !begun.IsZero() {
		seen.waited += min(state.For-seen.waited, passed)
	}
}

// judge gives the patience with a stage in its present state, how long it has been
// in it, and how long that was at the last warning.
func (w *watchdog) judge(state StageState, seen *stillness, circle time.Duration) (limit Limit, length time.Duration, warned *time.Duration) {
	still, ok := w.limits.Stages[state.Name]
	if !ok {
		still = w.limits.Still
	}
	if state.Waiting == "" {
		return still, seen.still, &seen.warned[0]
	}
	waits, ok := w.limits.Waits[state.Waiting]
	switch {
	case state.Waiting == ForPerson:
		return Limit{}, seen.waited, &seen.warned[1]
	case ok:
		return waits, seen.waited, &seen.warned[1]
	}
	return still, circle, &seen.warned[1]
}

// isCut reports whether a stage is still where it was cut off.
func (w *watchdog) isCut(state StageState) bool {
	then, ok := w.cut[state.Name]
	if !ok {
		return false
	}
	if then.Moves == state.Moves && then.Waiting == state.Waiting && then.Since.Equal(state.Since) {
		return true
	}
	delete(w.cut, state.Name)
	// What it stood still before is what it was cut off for: it is not held against it twice.
	if seen := w.still[state.Name]; seen != nil {
		seen.still, seen.warned[0] = 0, 0
	}
	return false
}

// fail cuts the stage off, or ends the run, which it reports.
func (w *watchdog) fail(state StageState, length time.Duration) (ended bool) {
	failed := stall(state, length)
	failed.Stacks = stacks()
	if w.actions.Cut != nil && w.actions.Cut(failed) {
		w.cut[state.Name] = state
		return false
	}
	w.failed = failed
	if w.actions.Fail != nil {
		w.actions.Fail(failed)
	}
	return true
}

// circle is how long every active stage has been waiting for another stage: then
// nothing from outside can set them going again. It is 0 if one moves or waits for
// something else.
func (w *watchdog) circle(states []StageState) time.Duration {
	names := make(map[Resource]bool, len(states))
	for _, state := range states {
		names[ForStage(state.Name)] = true
	}
	youngest := time.Duration(-1)
	for _, state := range states {
		if state.Active == 0 {
			continue
		}
		if !names[state.Waiting] {
			return 0
		}
		if waited := w.still[state.Name].waited; youngest < 0 || waited < youngest {
			youngest = waited
		}
	}
	return max(youngest, 0)
}

func stall(state StageState, length time.Duration) *Stall {
	return &Stall{
		Stage: state.Name, Object: state.Object, Waiting: state.Waiting, Detail: state.Detail,
		For: length, Bytes: state.Bytes, Ops: state.Ops, Moved: state.Moved,
	}
}
