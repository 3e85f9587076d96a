package copier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/progress"
)

// errFenced is what a volume that was cut off gets for every further write.
var errFenced = errors.New("the volume was cut off")

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
	w.fenced.Store(true)
	w.outcome.Stuck = true
	return fmt.Errorf("stuck at %s: %w", object, context.Cause(ctx))
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

// valid is asked before every write.
func (w *owner) valid() error {
	if w.fenced.Load() {
		return fmt.Errorf("%s: %w", w.info.Location, errFenced)
	}
	if w.hold != nil {
		return w.hold.Valid()
	}
	return nil
}

// guardedVolume is the volume, which refuses writes once the owner has lost it.
func (w *owner) guardedVolume() capstan.Volume { return fencedVolume{w.volume, w} }

type fencedVolume struct {
	capstan.Volume
	owner *owner
}

func (v fencedVolume) Create(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeFile, error) {
	if err := v.owner.valid(); err != nil {
		return nil, err
	}
	file, err := v.Volume.Create(ctx, set, name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{file, v.owner, ctx}, nil
}

func (v fencedVolume) Remove(ctx context.Context, set capstan.SetID, names ...string) error {
	if err := v.owner.valid(); err != nil {
		return err
	}
	return v.Volume.Remove(ctx, set, names...)
}

// fencedFile also shows how the volume's owner moves: while a call is in the
// volume, it waits for that.
type fencedFile struct {
	capstan.VolumeFile
	owner *owner
	ctx   context.Context //nolint:containedctx // of the work that writes the file
}

func (f *fencedFile) Write(p []byte) (int, error) {
	if limit := f.owner.queue.options.Limit; limit != nil {
		if err := limit.Wait(f.ctx, f.owner.stage, len(p)); err != nil {
			return 0, err
		}
	}
	if err := f.owner.valid(); err != nil {
		return 0, err
	}
	done := f.owner.stage.Wait(progress.ForVolume, f.owner.info.Location)
	n, err := f.VolumeFile.Write(p)
	done()
	f.owner.stage.Moved(capstan.Bytes(n), 0)
	return n, err
}

func (f *fencedFile) Commit(ctx context.Context) error {
	if err := f.owner.valid(); err != nil {
		return err
	}
	done := f.owner.stage.Wait(progress.ForVolume, f.owner.info.Location)
	err := f.VolumeFile.Commit(ctx)
	done()
	f.owner.stage.Moved(0, 1)
	return err
}

// Abort of an owner that lost the volume leaves the unfinished file to whoever
// has it now.
func (f *fencedFile) Abort() error {
	if f.owner.valid() != nil {
		return nil
	}
	return f.VolumeFile.Abort()
}
