package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"capstan"
	"capstan/internal/disk"
)

// file is an archive or another file of a set while it is being written.
type file struct {
	volume  *Volume
	set     capstan.SetID
	name    string
	out     *disk.File
	root    fs.FileInfo   // of the volume's directory when the file was created
	room    capstan.Bytes // that may be written before the free space is looked at again
	metered bool          // the reserve is kept from it
	replace bool          // the finished file of that name
	err     error         // first failure of a write
	ended   bool
}

// Create starts a file in a set that this catalog claimed.
func (v *Volume) Create(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeFile, error) {
	if err := v.check(ctx, set, name); err != nil {
		return nil, err
	}
	if err := v.own(set); err != nil {
		return nil, err
	}
	if _, err := v.disk.Lstat(v.file(set, name)); err == nil {
		return nil, &fs.PathError{Op: "create", Path: v.file(set, name), Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return v.begin(set, name, false)
}

// Replace starts the successor of a finished file, see capstan.Replacer. Any catalog
// of the home that claimed the set may do that, also one that was rebuilt.
func (v *Volume) Replace(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeFile, error) {
	if err := v.check(ctx, set, name); err != nil {
		return nil, err
	}
	if err := v.ownHome(set); err != nil {
		return nil, err
	}
	info, err := v.disk.Lstat(v.file(set, name))
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "replace", Path: v.file(set, name), Err: fs.ErrInvalid}
	}
	if err != nil {
		return nil, err
	}
	return v.begin(set, name, true)
}

// begin makes the unfinished file.
func (v *Volume) begin(set capstan.SetID, name string, replace bool) (capstan.VolumeFile, error) {
	final := v.file(set, name)
	root, err := v.disk.Stat(v.path)
	if err != nil {
		return nil, err
	}
	if err := v.disk.Remove(final + partSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out, err := v.disk.Create(final + partSuffix)
	if err != nil {
		return nil, err
	}
	out.DropBehind()
	_, _, _, metered := capstan.ParseArchiveName(name)
	return &file{volume: v, set: set, name: name, out: out, root: root, metered: metered, replace: replace}, nil
}

// Write appends p, or refuses with capstan.ErrNoSpace before the volume's
// reserve is touched. After a failure every further Write fails.
func (f *file) Write(p []byte) (int, error) {
	if f.ended {
		return 0, &fs.PathError{Op: "write", Path: f.final(), Err: fs.ErrClosed}
	}
	if f.err != nil {
		return 0, f.err
	}
	n := capstan.Bytes(len(p))
	if f.metered && f.room < n {
		if f.room, f.err = f.volume.room(f.name, len(p)); f.err != nil {
			return 0, f.err
		}
	}
	f.room -= n
	written, err := f.out.Write(p)
	f.err = err
	return written, err
}

// Commit makes the file durable under its name.
func (f *file) Commit(ctx context.Context) error {
	return f.CommitIf(ctx, func() error { return nil })
}

// CommitIf makes the file durable under its name, if it still may right before the
// rename.
func (f *file) CommitIf(ctx context.Context, may func() error) error {
	if f.ended {
		return &fs.PathError{Op: "commit", Path: f.final(), Err: fs.ErrClosed}
	}
	if err := may(); err != nil {
		return errors.Join(f.wrap(err), f.Drop())
	}
	f.ended = true
	err := f.seal(ctx)
	if err != nil {
		if denied := may(); denied != nil {
			return errors.Join(f.wrap(denied), err, f.leave())
		}
		return errors.Join(f.wrap(err), f.discard())
	}
	if err := may(); err != nil {
		return f.wrap(err) // seal has closed it
	}
	if err := f.publish(); err != nil {
		return f.wrap(err)
	}
	return nil
}

// wrap leaves an error that is told to people as it is and gives the others the
// file's name.
func (f *file) wrap(err error) error {
	if _, ok := errors.AsType[*capstan.Error](err); ok {
		return err
	}
	return fmt.Errorf("commit %s: %w", f.final(), err)
}

// seal brings the content to the medium and makes sure that the path still
// leads to it. The file is open while the paths are compared: on filesystems
// that make up inode numbers, only an open file keeps its own.
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
	if err := f.volume.present(); err != nil {
		return err
	}
	root, err := f.volume.disk.Stat(f.volume.path)
	if err != nil || !os.SameFile(root, f.root) {
		return f.volume.gone(errors.Join(errors.New("another directory is at its path"), err))
	}
	same, err := f.isOurs()
	if err != nil {
		return err
	}
	if !same {
		return f.volume.gone(fmt.Errorf("the file that was written is not at %s any more", f.part()))
	}
	if err := f.out.Close(); err != nil {
		return err
	}
	// Some filesystems cut a file at its closing and do not say so.
	return f.hasSize(f.part())
}

// isOurs reports whether the unfinished name still leads to the open file.
func (f *file) isOurs() (bool, error) {
	open, err := f.out.Stat()
	if err != nil {
		return false, err
	}
	named, err := f.volume.disk.Lstat(f.part())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

func (f *file) hasSize(path string) error {
	info, err := f.volume.disk.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != f.out.Size() {
		return fmt.Errorf("%s: %w: %d bytes were written, and %d are there", path, capstan.ErrDamaged, f.out.Size(), info.Size())
	}
	return nil
}

// publish gives the sealed file its name. When a step after the rename fails,
// the name may not outlast a power loss, so the file is taken back.
func (f *file) publish() error {
	disk := f.volume.disk
	rename := disk.RenameNew
	if f.replace {
		rename = disk.Rename
	}
	if err := rename(f.part(), f.final()); err != nil {
		return errors.Join(err, f.remove(f.part()))
	}
	err := disk.SyncDir(f.volume.dir(f.set))
	if err == nil {
		err = f.hasSize(f.final())
	}
	if err == nil || f.replace { // what is there under the name is whole, whichever it is
		return err
	}
	if removeErr := f.remove(f.final()); removeErr != nil {
		return errors.Join(err, fmt.Errorf("the file may be there, but is not safe: %w", removeErr))
	}
	return err
}

// Drop closes the file and leaves it where it is.
func (f *file) Drop() error {
	if f.ended {
		return nil
	}
	f.ended = true
	return f.leave()
}

// leave closes the file unless seal did.
func (f *file) leave() error {
	if err := f.out.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

// Abort removes what was written.
func (f *file) Abort() error {
	if f.ended {
		return nil
	}
	f.ended = true
	return f.discard()
}

// discard closes the file and removes it under its unfinished name, unless
// that leads to another file by now.
func (f *file) discard() error {
	same, err := f.isOurs()
	closeErr := f.out.Close()
	if errors.Is(err, fs.ErrClosed) { // it was closed by seal, which had compared before
		same, err = true, nil
	}
	if err != nil || !same {
		return errors.Join(err, closeErr)
	}
	return errors.Join(f.remove(f.part()), closeErr)
}

func (f *file) remove(path string) error {
	if err := f.volume.disk.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f *file) final() string { return f.volume.file(f.set, f.name) }

func (f *file) part() string { return f.final() + partSuffix }
