package copier

import (
	"context"

	"capstan"
	"capstan/internal/progress"
)

// pacedVolume holds what is written to the limit of the rate, and shows how the
// owner moves: while a call is in the volume, it waits for that.
type pacedVolume struct {
	capstan.Volume
	owner *owner
}

func (v pacedVolume) Create(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeFile, error) {
	file, err := v.Volume.Create(ctx, set, name)
	if err != nil {
		return nil, err
	}
	return &pacedFile{file, v.owner, ctx}, nil
}

type pacedFile struct {
	capstan.VolumeFile
	owner *owner
	ctx   context.Context //nolint:containedctx // of the work that writes the file
}

func (f *pacedFile) Write(p []byte) (int, error) {
	if limit := f.owner.queue.options.Limit; limit != nil {
		if err := limit.Wait(f.ctx, f.owner.stage, len(p)); err != nil {
			return 0, err
		}
		if err := f.owner.Valid(); err != nil { // it may have waited for long
			return 0, err
		}
	}
	done := f.owner.stage.Wait(progress.ForVolume, f.owner.info.Location)
	n, err := f.VolumeFile.Write(p)
	done()
	f.owner.stage.Moved(capstan.Bytes(n), 0)
	return n, err
}

func (f *pacedFile) Commit(ctx context.Context) error {
	return f.commit(func() error { return f.VolumeFile.Commit(ctx) })
}

// CommitIf implements capstan.GuardedFile where the volume's file does.
func (f *pacedFile) CommitIf(ctx context.Context, still func() error) error {
	return f.commit(func() error {
		if guarded, ok := f.VolumeFile.(capstan.GuardedFile); ok {
			return guarded.CommitIf(ctx, still)
		}
		if err := still(); err != nil {
			return err
		}
		return f.VolumeFile.Commit(ctx)
	})
}

// Drop implements capstan.GuardedFile.
func (f *pacedFile) Drop() error {
	if guarded, ok := f.VolumeFile.(capstan.GuardedFile); ok {
		return guarded.Drop()
	}
	return f.Abort()
}

func (f *pacedFile) commit(do func() error) error {
	done := f.owner.stage.Wait(progress.ForVolume, f.owner.info.Location)
	defer done()
	err := do()
	f.owner.stage.Moved(0, 1)
	return err
}
