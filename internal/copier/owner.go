package copier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/progress"
)

const stagePrefix = "copy to "

// StageName is the stage of the owner of a volume, in progress and reports.
func StageName(info capstan.VolumeInfo) string { return stagePrefix + info.Location }

// IsStage reports whether a stage is that of an owner.
func IsStage(name string) bool { return strings.HasPrefix(name, stagePrefix) }

// forRetry is what an owner waits for between two attempts.
const forRetry progress.Resource = "retry"

// owner brings the set to one volume. Only its goroutine uses it, but for what
// is said otherwise.
type owner struct {
	queue   *Queue
	info    capstan.VolumeInfo
	stage   *progress.Stage
	volume  capstan.Volume // nil while it is not open
	claimed bool
	fails   int // attempts to open or to finish that failed
	outcome Outcome

	wake   chan struct{}
	fenced atomic.Bool                   // it writes no more, whatever still runs
	lease  atomic.Pointer[catalog.Lease] // of the volume; nil while it is not held

	mu   sync.Mutex
	work context.CancelCauseFunc // of the guarded work; nil while there is none
	cut  chan struct{}           // of the same, closed by cutOff
}

func (q *Queue) newOwner(v Volume) *owner {
	return &owner{
		queue: q, info: v.Info, volume: v.Opened, stage: q.options.Tracker.Stage(StageName(v.Info)),
		wake:    make(chan struct{}, 1),
		outcome: Outcome{Volume: v.Info.ID, Location: v.Info.Location, State: capstan.CopyFailed},
	}
}

// run serves the volume until all is there, it is given up, or ctx ends.
func (w *owner) run(ctx context.Context) {
	w.stage.Begin()
	defer w.stage.End()
	err := w.serve(ctx)
	if err != nil && context.Cause(ctx) == nil && !w.fenced.Load() {
		w.queue.fail(fmt.Errorf("volume %s: %w", w.info.Location, err))
	}
	if err != nil && w.outcome.Problem == "" {
		w.outcome.Problem = capstan.Brief(err)
	}
	w.release(ctx)                           // what still hangs in the volume is fenced
	if !w.fenced.Load() && w.volume != nil { // else a call in it may end at any time
		if err := w.volume.Close(); err != nil {
			w.queue.options.Say("volume %s: %v", w.info.Location, err)
		}
	}
}

// serve takes copies from the queue. Its error is the cause of ctx or that the
// catalog failed; a volume that fails is an outcome.
func (w *owner) serve(ctx context.Context) error {
	o := &w.queue.options
	for {
		full := w.queue.isFull() // before the look, so that nothing is missed
		next, found, due, err := o.Catalog.NextCopy(ctx, w.queue.set, w.info.ID, o.Now())
		if err != nil {
			return err
		}
		switch {
		case found:
			var ready bool
			if ready, err = w.ready(ctx); ready && err == nil {
				err = w.attempt(ctx, next)
			}
		case full && due.IsZero():
			var over bool
			if over, err = w.finish(ctx); over {
				return err
			}
		default:
			err = w.idle(ctx, due)
		}
		if err != nil {
			return err
		}
		if w.outcome.Problem != "" { // the volume is given up
			return w.giveUp(ctx)
		}
	}
}

// idle waits until something is queued, or a retry is due.
func (w *owner) idle(ctx context.Context, due time.Time) error {
	w.release(ctx)
	if due.IsZero() {
		return w.pause(ctx, progress.ForStage("pack"), "", nil)
	}
	timer := time.NewTimer(due.Sub(w.queue.options.Now()))
	defer timer.Stop()
	return w.pause(ctx, forRetry, "at "+due.Format(time.TimeOnly), timer.C)
}

// pause is a declared wait for a wake-up, or for a time.
func (w *owner) pause(ctx context.Context, on progress.Resource, detail string, after <-chan time.Time) error {
	w.stage.Object("")
	done := w.stage.Wait(on, detail)
	defer done()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.wake:
	case <-after:
	}
	return context.Cause(ctx)
}

// ready opens the volume and takes the right to write there. It reports false
// after an attempt that failed; the last one gives the volume up.
func (w *owner) ready(ctx context.Context) (bool, error) {
	o := &w.queue.options
	var err error
	if w.volume == nil {
		err = w.guard(ctx, w.info.Location, w.reopen)
	}
	if err == nil && w.lease.Load() == nil && o.LeaseTime > 0 {
		err = w.take(ctx)
	}
	if err == nil && !w.claimed {
		volume := w.writable()
		err = w.guard(ctx, w.info.Location, func(ctx context.Context) error {
			defer w.stage.Wait(progress.ForVolume, w.info.Location)()
			return volume.ClaimSet(ctx, w.queue.set, o.Owner)
		})
		w.claimed = err == nil
	}
	if err == nil {
		return true, nil
	}
	if w.lost(ctx, err) {
		return false, nil
	}
	return false, w.failed(ctx, "volume "+w.info.Location, err)
}

// reopen opens the volume. One that answers only after the owner has left it behind
// is closed again.
func (w *owner) reopen(ctx context.Context) error {
	defer w.stage.Wait(progress.ForVolume, w.info.Location)()
	volume, err := w.queue.options.Open(ctx, w.info)
	if err != nil {
		return err
	}
	w.mu.Lock()
	fenced := w.fenced.Load()
	if !fenced {
		w.volume = volume
	}
	w.mu.Unlock()
	if fenced {
		return errors.Join(w.Valid(), volume.Close())
	}
	return nil
}

// lost reports whether an error is the loss of the volume's lease, which is then
// given up: the next look at the queue takes it anew.
func (w *owner) lost(ctx context.Context, err error) bool {
	if !errors.Is(err, capstan.ErrLeaseLost) || context.Cause(ctx) != nil {
		return false
	}
	w.release(ctx)
	return true
}

// failed waits after an attempt at the volume as a whole that failed, or gives it up.
func (w *owner) failed(ctx context.Context, what string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	o := &w.queue.options
	w.fails++
	if w.fails >= o.Attempts || w.fenced.Load() || errors.Is(err, capstan.ErrSetExists) {
		w.outcome.Problem = capstan.Brief(err)
		return nil
	}
	wait := w.backoff(w.fails)
	o.Say("%s: attempt %d of %d failed, the next is in %s: %s", what, w.fails, o.Attempts, wait.Round(time.Second/10), capstan.Brief(err))
	for until := o.Now().Add(wait); ; { // a wake-up in between makes the volume no better
		left := until.Sub(o.Now())
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		cause := w.pause(ctx, forRetry, capstan.Brief(err), timer.C)
		timer.Stop()
		if cause != nil {
			return cause
		}
	}
}

// backoff is the time after the n-th failure, from 1: fourfold each time, a
// quarter more or less, so that what failed together is not tried together.
func (w *owner) backoff(n int) time.Duration {
	d := w.queue.options.Backoff
	for range n - 1 {
		d = min(4*d, w.queue.options.MaxBackoff)
	}
	return d*3/4 + rand.N(d/2+1) //nolint:gosec // spreads load, guards nothing
}

// finish brings the end of the set to the volume, after its last archive. It
// reports true when there is nothing left to do for this owner.
func (w *owner) finish(ctx context.Context) (over bool, err error) {
	o := &w.queue.options
	copies, err := o.Catalog.Copies(ctx, w.queue.set)
	if err != nil {
		return true, err
	}
	for _, c := range copies {
		if c.Volume == w.info.ID && c.State == capstan.CopyFailed {
			w.outcome.Problem = fmt.Sprintf("archive %d: %s", c.Number, c.Problem)
			return true, o.Catalog.FailWaiting(ctx, w.queue.set, w.info.ID, w.outcome.Problem)
		}
	}
	if ready, err := w.ready(ctx); !ready || err != nil {
		return false, err
	}
	err = w.guard(ctx, "the set's own files", func(ctx context.Context) error {
		return o.Finish(ctx, w.writable(), func() { w.stage.Moved(0, 1) })
	})
	if err == nil {
		w.outcome.State = capstan.CopyWritten
		return true, nil
	}
	w.claimed = false
	if w.lost(ctx, err) {
		return false, nil
	}
	return false, w.failed(ctx, "set "+string(w.queue.set)+" on "+w.info.Location, err)
}

// giveUp records that the volume is given up until a person asks for it again.
func (w *owner) giveUp(ctx context.Context) error {
	o := &w.queue.options
	what := "its archives stay in the stage"
	if o.Stage == nil {
		what = "its archives are on other volumes"
	}
	o.Say("volume %s is given up for this run: %s; %s", w.info.Location, w.outcome.Problem, what)
	w.release(ctx) // others need not wait for the end of the packing
	for {
		full := w.queue.isFull()
		if err := o.Catalog.FailWaiting(ctx, w.queue.set, w.info.ID, w.outcome.Problem); err != nil || full {
			return err
		}
		// What is still to be packed is queued for this volume too.
		if err := w.pause(ctx, progress.ForStage("pack"), "given up", nil); err != nil {
			return err
		}
	}
}

// take gets the lease of the volume, and waits for it as long as another run
// writes there.
func (w *owner) take(ctx context.Context) error {
	o := &w.queue.options
	resource := "volume:" + string(w.info.ID)
	lease, err := o.Catalog.Acquire(ctx, resource, o.Purpose, o.LeaseTime)
	if errors.Is(err, capstan.ErrLocked) {
		o.Say("volume %s: %s; this run waits for it", w.info.Location, capstan.Brief(err))
		done := w.stage.Wait(progress.ForLock, capstan.Brief(err))
		lease, err = o.Catalog.AcquireWait(ctx, resource, o.Purpose, o.LeaseTime)
		done()
	}
	if err == nil {
		w.lease.Store(lease)
	}
	return err
}

func (w *owner) release(ctx context.Context) {
	lease := w.lease.Swap(nil)
	if lease == nil {
		return
	}
	longer, stop := catalog.Outlive(ctx, recordTime) // else others would wait for the lease's whole time
	defer stop()
	if err := lease.Release(longer); err != nil {
		w.queue.options.Say("volume %s: %v", w.info.Location, err)
	}
}
