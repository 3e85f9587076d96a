package copier

import (
	"context"
	"errors"

	"capstan"
)

// right is what a fenced volume asks before it changes anything: a lease. Valid is
// cheap, and once it gave an error it gives one for good.
type right interface {
	Valid() error
}

// Fenced gives a view of a volume through which only the holder of the right writes:
// each change and each Write asks for the right first, and a file gets its name only
// if the right is still there after the syncing. Whoever lost it, perhaps while its
// process was stopped, gets the reason and writes nothing more; also an unfinished
// file stays as it is, for the volume's present owner. Reading is left alone.
//
// The caller closes the volume or the view of it, not both.
func Fenced(volume capstan.Volume, by right) capstan.Volume {
	return &fencedVolume{Volume: volume, by: by}
}

type fencedVolume struct {
	capstan.Volume
	by right
}

func (v *fencedVolume) ClaimSet(ctx context.Context, set capstan.SetID, owner string) error {
	if err := v.by.Valid(); err != nil {
		return err
	}
	return v.Volume.ClaimSet(ctx, set, owner)
}

func (v *fencedVolume) Create(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeFile, error) {
	if err := v.by.Valid(); err != nil {
		return nil, err
	}
	file, err := v.Volume.Create(ctx, set, name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{file: file, by: v.by}, nil
}

// Replace makes a fenced view a capstan.Replacer; of a volume that is none, it fails
// with errors.ErrUnsupported.
func (v *fencedVolume) Replace(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeFile, error) {
	replacer, ok := v.Volume.(capstan.Replacer)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	if err := v.by.Valid(); err != nil {
		return nil, err
	}
	file, err := replacer.Replace(ctx, set, name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{file: file, by: v.by}, nil
}

func (v *fencedVolume) Discard(ctx context.Context, set capstan.SetID) (int, error) {
	if err := v.by.Valid(); err != nil {
		return 0, err
	}
	return v.Volume.Discard(ctx, set)
}

func (v *fencedVolume) Remove(ctx context.Context, set capstan.SetID, names ...string) error {
	if err := v.by.Valid(); err != nil {
		return err
	}
	return v.Volume.Remove(ctx, set, names...)
}

// fencedFile is a file of a fenced volume.
type fencedFile struct {
	file capstan.VolumeFile
	by   right
}

// Write writes p if the right is there. A p of several megabytes is written in one
// step: what may still reach the volume after a loss is at most one such step, of a
// process that was stopped between the question and the write.
func (f *fencedFile) Write(p []byte) (int, error) {
	if err := f.by.Valid(); err != nil {
		return 0, err
	}
	return f.file.Write(p)
}

func (f *fencedFile) Commit(ctx context.Context) error {
	if guarded, ok := f.file.(capstan.GuardedFile); ok {
		return guarded.CommitIf(ctx, f.by.Valid)
	}
	if err := f.by.Valid(); err != nil {
		return errors.Join(err, f.file.Abort())
	}
	return f.file.Commit(ctx)
}

func (f *fencedFile) Abort() error {
	if guarded, ok := f.file.(capstan.GuardedFile); ok && f.by.Valid() != nil {
		return guarded.Drop()
	}
	return f.file.Abort()
}
