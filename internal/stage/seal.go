package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"capstan"
)

// Commit seals the file: durable in final under its name, when it returns nil.
// After an error the file is not there. What was reserved too much is free.
func (f *file) Commit(ctx context.Context) error {
	return f.CommitIf(ctx, func() error { return nil })
}

// CommitIf implements capstan.GuardedFile: may is asked before anything is done
// and again right before the rename.
func (f *file) CommitIf(ctx context.Context, may func() error) error {
	if f.ended {
		return &fs.PathError{Op: "commit", Path: f.final(), Err: fs.ErrClosed}
	}
	if err := may(); err != nil {
		return errors.Join(err, f.Drop())
	}
	f.ended = true
	err := f.seal(ctx)
	if err == nil {
		if err = may(); err != nil {
			return errors.Join(err, f.leave(ctx)) // seal has closed it; Reconcile removes it
		}
		err = f.publish(ctx)
	} else {
		err = errors.Join(err, f.discard())
	}
	leaveErr := f.leave(ctx)
	if err == nil {
		// The file is durable. Room that could not be given back in the ledger is given
		// back by the next look at it, and until then nobody gets too much.
		return nil
	}
	err = errors.Join(err, leaveErr)
	if _, ok := errors.AsType[*capstan.Error](err); ok {
		return err
	}
	return fmt.Errorf("seal %s: %w", f.final(), err)
}

// Drop implements capstan.GuardedFile; in the stage it is Abort, since no other
// owner writes a file of a set that this one has claimed.
func (f *file) Drop() error { return f.Abort() }

// seal brings the content to the medium and makes sure that the path still
// leads to it. The file is open while the paths are compared: where inode numbers
// are made up, only an open file keeps its own.
func (f *file) seal(ctx context.Context) error {
	if f.err != nil {
		return f.err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := f.out.Sync(); err != nil {
		return err
	}
	if err := f.stage.usable(); err != nil {
		return err
	}
	same, err := f.isOurs()
	if err != nil {
		return err
	}
	if !same {
		return f.stage.gone(fmt.Errorf("the file that was written is not at %s any more", f.temp()))
	}
	if err := f.out.Close(); err != nil {
		return err
	}
	return f.hasSize(f.temp()) // some filesystems cut a file at its closing and do not say so
}

func (f *file) hasSize(path string) error {
	info, err := f.stage.disk.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != f.out.Size() {
		return fmt.Errorf("%s: %w: %d bytes were written, and %d are there", path, capstan.ErrDamaged, f.out.Size(), info.Size())
	}
	return nil
}

// publish moves the sealed file to final. When a step after the rename fails,
// the name may not outlast a power failure, so the file is taken back.
func (f *file) publish(ctx context.Context) error {
	s := f.stage
	err := s.persist(ctx, f.name, 0, func() (bool, error) {
		err := s.makeDir(s.dir(finalArea, f.set))
		if err == nil {
			err = s.disk.RenameNew(f.temp(), f.final())
		}
		return errors.Is(err, capstan.ErrNoSpace), err
	})
	if err != nil {
		return errors.Join(err, removeFile(s.disk, f.temp()))
	}
	// Also final itself: a process that was killed may have made the set's directory.
	for _, dir := range [...]string{s.dir(finalArea, f.set), s.area(finalArea), s.dir(tempArea, f.set)} {
		if err == nil {
			err = s.disk.SyncDir(dir)
		}
	}
	if err == nil {
		err = f.hasSize(f.final())
	}
	if err == nil {
		return nil
	}
	if removeErr := removeFile(s.disk, f.final()); removeErr != nil {
		return errors.Join(err, fmt.Errorf("the file may be there, but is not safe: %w", removeErr))
	}
	return err
}
