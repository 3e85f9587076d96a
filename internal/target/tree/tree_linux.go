package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/machine"
)

// Tree is a directory that is being restored into.
type Tree struct {
	options  Options
	owners   bool // owners are restored, or at least tried
	mustOwn  bool // and a refusal is an error
	uid, gid uint32
	naming   linkMethod
	dirs     *dirCache
	notes    notes
	buffers  buffers
	tempBase string
	here     machine.Place // in its short form, see tempMark
	temps    atomic.Uint64
}

// Open makes dir, and what is missing above it, unless it is there. A symlink
// on the way to it is followed, since the user named it. It fails with
// capstan.ErrRefused if dir is no directory.
func Open(dir string, o Options) (*Tree, error) {
	err := os.MkdirAll(dir, 0o777)
	if errors.Is(err, unix.EEXIST) { // what is there could not be looked at, which is not said
		if _, statErr := os.Stat(dir); statErr != nil {
			err = statErr
		}
	}
	fd := -1
	if err == nil {
		fd, err = openat(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, openFailure(dir, err, errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EEXIST))
	}
	t := &Tree{
		options: o, owners: os.Geteuid() == 0, uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()),
		dirs: newDirCache(fd, openDirs),
	}
	t.tempBase, t.here = tempMark()
	if occupied(fd) {
		t.dirs.found = t.sweep
		t.sweep(fd)
	}
	if o.Owners != nil {
		t.owners, t.mustOwn = *o.Owners, *o.Owners
	}
	t.naming = t.findLinkMethod()
	return t, nil
}

// Dir makes a directory, accessible to its owner only until FinishDir, and
// whatever is missing above it. A directory that is there is kept, and made
// usable for its owner. Something else in its place is an error, unless
// Overwrite replaces it; a directory is never reached through a symlink.
func (t *Tree) Dir(ctx context.Context, path string) error {
	parent, name, err := t.parent(ctx, path)
	if err != nil {
		return err
	}
	defer t.dirs.release(parent)
	err = unix.Mkdirat(parent.fd, name, 0o700)
	if err == nil && !parent.inherits {
		t.dirs.made(path)
		return nil
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return failure(path, err)
	}
	err = makeUsable(parent.fd, name)
	if !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		return failure(path, err)
	}
	if !t.options.Overwrite {
		return exists(path)
	}
	return failure(path, t.replaceByDir(parent, name))
}

// makeUsable lets the owner read, write and enter an existing directory.
func makeUsable(parent int, name string) error {
	fd, err := openat(parent, name, openDirFlags, 0)
	if err != nil {
		return err
	}
	defer closeAll([]int{fd})
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&0o700 != 0o700 && st.Uid == uint32(os.Geteuid()) {
		return retry(func() error { return unix.Chmod(procPath(fd), st.Mode&0o7777|0o700) })
	}
	return nil
}

// replaceByDir puts a new directory in the place of something that is none;
// until that has succeeded the old one stays.
func (t *Tree) replaceByDir(parent *openDir, name string) error {
	temp := t.tempName()
	if err := unix.Mkdirat(parent.fd, temp, 0o700); err != nil {
		return err
	}
	err := unix.Unlinkat(parent.fd, name, 0)
	if err == nil {
		err = unix.Renameat(parent.fd, temp, parent.fd, name)
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(parent.fd, temp, unix.AT_REMOVEDIR))
	}
	return nil
}

// Link gives what was restored as to the further name path. It makes missing
// directories above path. ErrCannotLink means that the content must be placed
// again instead; capstan.ErrNotFound that to is not there.
func (t *Tree) Link(ctx context.Context, path, to string) error {
	if err := checkPath(to); err != nil {
		return err
	}
	parent, name, err := t.parent(ctx, path)
	if err != nil {
		return err
	}
	defer t.dirs.release(parent)
	toDir, toName := capstan.SplitPath(to)
	source, err := t.dirs.resolve(toDir, false)
	if err != nil {
		return linkFailure(path, to, err)
	}
	defer t.dirs.release(source)

	at := name
	err = unix.Linkat(source.fd, toName, parent.fd, at, 0)
	if errors.Is(err, unix.EEXIST) && t.options.Overwrite {
		if sameInode(source.fd, toName, parent.fd, name) {
			return nil
		}
		if err := replaceable(parent, name, path); err != nil {
			return err
		}
		at = t.tempName()
		err = unix.Linkat(source.fd, toName, parent.fd, at, 0)
	}
	if err != nil {
		return linkFailure(path, to, err)
	}
	if at != name {
		if err := unix.Renameat(parent.fd, at, parent.fd, name); err != nil {
			return failure(path, errors.Join(err, unix.Unlinkat(parent.fd, at, 0)))
		}
	}
	return nil
}

func linkFailure(path, to string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		err = fmt.Errorf("%s, whose further name it is, is not there: %w", quote(to), err)
		return &capstan.Error{Class: capstan.ErrNotFound, Op: "restore", Object: quote(path), Err: err}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS),
		errors.Is(err, unix.EMLINK), errors.Is(err, unix.EXDEV):
		return &capstan.Error{Op: "restore", Object: quote(path), Err: fmt.Errorf("%w: %w", ErrCannotLink, err)}
	}
	return failure(path, err)
}

func sameInode(dirA int, a string, dirB int, b string) bool {
	var x, y unix.Stat_t
	errA := unix.Fstatat(dirA, a, &x, unix.AT_SYMLINK_NOFOLLOW)
	errB := unix.Fstatat(dirB, b, &y, unix.AT_SYMLINK_NOFOLLOW)
	return errA == nil && errB == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// FinishDir gives a directory its mode, owner, times, xattrs and ACLs. Nothing
// may be placed in it afterwards, so it is called last, and for what lies in
// the directory before.
func (t *Tree) FinishDir(ctx context.Context, path string, e *capstan.Entry) error {
	parent, name, err := t.parent(ctx, path)
	if err != nil {
		return err
	}
	defer t.dirs.release(parent)
	t.dirs.forget(path)
	fd, err := openat(parent.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return notADirectory(path, describe(parent.fd, name))
	}
	if err != nil {
		return failure(path, err)
	}
	err = t.describeDir(inode{fd: fd}, path, e)
	return failure(path, errors.Join(err, unix.Close(fd)))
}

// Notes gives what the target could not keep, each with the number of entries
// and the first of them. It may be called at any time.
func (t *Tree) Notes() []string { return t.notes.lines() }

// Sync makes all that was restored durable: after it a power loss undoes
// nothing. It writes out the whole filesystem that the target is on (syncfs);
// what lies on others mounted within the target is not covered.
func (t *Tree) Sync(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	root, err := t.dirs.resolve("", false)
	if err != nil {
		return err
	}
	defer t.dirs.release(root)
	fd, err := openat(root.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(retry(func() error { return unix.Syncfs(fd) }), unix.Close(fd))
	}
	if err != nil {
		return fmt.Errorf("make the restored tree durable: %w", err)
	}
	return nil
}

// Close ends the use of the target. Nothing that was restored depends on it.
func (t *Tree) Close() error {
	t.dirs.close()
	return nil
}

// parent opens the directory that a path lies in, making it if needed.
func (t *Tree) parent(ctx context.Context, path string) (dir *openDir, name string, err error) {
	if ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	}
	if err := checkPath(path); err != nil {
		return nil, "", err
	}
	above, name := capstan.SplitPath(path)
	dir, err = t.dirs.resolve(above, true)
	return dir, name, err
}

// tempName gives a name that nobody else has.
func (t *Tree) tempName() string {
	return t.tempBase + strconv.FormatUint(t.temps.Add(1), 36)
}
