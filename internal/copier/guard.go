package copier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/progress"
)

// errFenced is what a volume that was cut off gets for every further write.
var errFenced = errors.New("the volume was cut off")

// recordTime is what the records of work that is done may take after the end of ctx.
const recordTime = 10 * time.Second

// guard does work that may hang in the volume. It returns when the work does;
// after Cut, or after the end of ctx, at the latest a grace later: the work is then
// left behind, and the volume fenced. object names the work for people.
func (w *owner) guard(ctx context.Context, object string, work func(ctx context.Context) error) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cut := make(chan struct{})
	w.mu.Lock()
	w.work, w.cut = cancel, cut
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.work, w.cut = nil, nil
		w.mu.Unlock()
	}()
	w.stage.Object(object)
	result := make(chan error, 1)
	go func() { result <- work(ctx) }()
	select {
	case err := <-result:
		return err
	case <-cut:
	case <-outer.Done():
	}
	timer := time.NewTimer(w.queue.options.Grace)
	defer timer.Stop()
	select {
	case err := <-result:
		if err != nil && context.Cause(ctx) != nil {
			err = context.Cause(ctx) // what the work says is a consequence
		}
		return err
	case <-timer.C:
	}
	w.mu.Lock()
	w.fenced.Store(true)
	w.mu.Unlock()
	w.outcome.Stuck = true
	if stall, ok := errors.AsType[*progress.Stall](context.Cause(ctx)); ok {
		since := time.Now().Add(-w.queue.options.Grace - stall.For)
		return fmt.Errorf("it has not answered since %s, at %s", since.Format(time.TimeOnly), object)
	}
	return fmt.Errorf("it does not answer, at %s: %w", object, context.Cause(ctx))
}

// cutOff cancels the guarded work; false if there is none. It may be called by
// any goroutine.
func (w *owner) cutOff(cause error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.work == nil {
		return false
	}
	w.work(cause)
	close(w.cut)
	w.work = nil
	return true
}

// Valid is asked before every write: nil while this owner may write to the volume.
func (w *owner) Valid() error {
	if w.fenced.Load() {
		return fmt.Errorf("%s: %w", w.info.Location, errFenced)
	}
	if lease := w.lease.Load(); lease != nil {
		return lease.Valid()
	}
	return nil
}

// fences are what the catalog checks before it believes this owner.
func (w *owner) fences() []catalog.Fence {
	if lease := w.lease.Load(); lease != nil {
		return []catalog.Fence{lease.Fence()}
	}
	return nil
}

// writable is the volume for this owner's work: it shows how the owner moves, and
// refuses every change once the owner has lost it.
func (w *owner) writable() capstan.Volume { return Fenced(pacedVolume{w.volume, w}, w) }
