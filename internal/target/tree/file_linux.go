package tree

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"capstan"
)

// linkMethod is how a file that was made without a name gets one.
type linkMethod uint8

const (
	linkNever   linkMethod = iota // files are made under a temporary name
	linkByFD                      // linkat(2) with AT_EMPTY_PATH: needs CAP_DAC_READ_SEARCH
	linkThrough                   // linkat(2) through /proc/self/fd
)

// findLinkMethod tries in the target itself what works there.
func (t *Tree) findLinkMethod() linkMethod {
	root := t.dirs.root
	fd, err := openat(root.fd, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return linkNever
	}
	defer closeAll([]int{fd})
	for _, method := range []linkMethod{linkByFD, linkThrough} {
		temp := t.tempName()
		if err := method.link(fd, root.fd, temp); err == nil && unix.Unlinkat(root.fd, temp, 0) == nil {
			return method
		}
	}
	return linkNever
}

// link gives a file without a name the given one, which must be free.
func (m linkMethod) link(fd, dir int, name string) error {
	if m == linkByFD {
		return unix.Linkat(fd, "", dir, name, unix.AT_EMPTY_PATH)
	}
	return unix.Linkat(unix.AT_FDCWD, procPath(fd), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// newFile is a file that is not yet under its final name.
type newFile struct {
	dir  *openDir
	fd   int
	mode uint32 // that it was made with, before umask and ACLs
	temp string // empty while it has no name at all
}

// WriteAt writes all of b, or fails.
func (f *newFile) WriteAt(b []byte, offset int64) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Pwrite(f.fd, b[done:], offset+int64(done))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrShortWrite
		default:
			done += n
		}
	}
	return done, nil
}

// Truncate sets the size.
func (f *newFile) Truncate(size int64) error {
	return retry(func() error { return unix.Ftruncate(f.fd, size) })
}

// placeFile writes a file and then gives it its name.
func (t *Tree) placeFile(
	ctx context.Context, dir *openDir, name, path string, e *capstan.Entry, content io.Reader,
) error {
	plan, err := newLayout(e)
	if err != nil {
		return failure(path, err)
	}
	if direct, ok := content.(io.WriterTo); ok && t.naming != linkNever {
		return t.placeDirect(ctx, dir, name, path, e, plan, direct)
	}
	buf := t.buffers.get()
	defer t.buffers.put(buf)
	n, done, err := fill(content, buf[:])
	if err != nil {
		return failure(path, err)
	}
	if !done {
		// Much content: learn now, not after writing it, that the name is taken.
		if err := t.expectFree(dir, name, path); err != nil {
			return err
		}
	}
	return t.finishFile(dir, name, path, e, func(f *newFile) error {
		return plan.copyRest(ctx, f, content, buf[:], n, done)
	})
}

// placeDirect lets content that can do so write itself into the file, without a
// buffer in between. The file has no name before all of it is there.
func (t *Tree) placeDirect(
	ctx context.Context, dir *openDir, name, path string, e *capstan.Entry, plan *layout, content io.WriterTo,
) error {
	if plan.total > chunkSize {
		if err := t.expectFree(dir, name, path); err != nil {
			return err
		}
	}
	return t.finishFile(dir, name, path, e, func(f *newFile) error { return plan.copyDirect(ctx, f, content) })
}

// finishFile makes a file, has it filled, and gives it everything and its name.
func (t *Tree) finishFile(dir *openDir, name, path string, e *capstan.Entry, write func(*newFile) error) error {
	f, err := t.create(dir, t.firstMode(e))
	if err != nil {
		return failure(path, err)
	}
	if err = write(f); err == nil {
		err = t.describeFile(f, path, e)
	}
	if err != nil {
		return failure(path, errors.Join(err, f.discard()))
	}
	return failure(path, t.publish(f, name, path))
}

// expectFree fails if the name is taken by something that may not be replaced.
func (t *Tree) expectFree(dir *openDir, name, path string) error {
	if t.options.Overwrite {
		return replaceable(dir, name, path)
	}
	var st unix.Stat_t
	err := unix.Fstatat(dir.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		return exists(path)
	}
	if !errors.Is(err, unix.ENOENT) {
		return failure(path, err)
	}
	return nil
}

// replaceable fails if a directory has the name.
func replaceable(dir *openDir, name, path string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return failure(path, err)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return directoryInTheWay(path)
	}
	return nil
}

// firstMode is the mode that a file is made with: the final one if nothing else
// about the file narrows or delays it, so that it need not be set again.
func (t *Tree) firstMode(e *capstan.Entry) uint32 {
	if e.ACL != "" || len(e.Xattrs) > 0 || t.foreign(e) {
		return 0o600
	}
	return e.Mode & 0o777
}

// create makes an empty file in dir, without a name if that is possible.
func (t *Tree) create(dir *openDir, mode uint32) (*newFile, error) {
	if t.naming != linkNever && !dir.named.Load() {
		fd, err := openat(dir.fd, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, mode)
		if err == nil {
			return &newFile{dir: dir, fd: fd, mode: mode}, nil
		}
		// Kernels and filesystems that do not know the flag open the directory
		// itself for writing, or say so.
		if !unsupported(err) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
		dir.named.Store(true)
	}
	temp := t.tempName()
	fd, err := openat(dir.fd, temp, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, err
	}
	return &newFile{dir: dir, fd: fd, mode: mode, temp: temp}, nil
}

// discard removes the file.
func (f *newFile) discard() error {
	err := unix.Close(f.fd)
	if f.temp != "" {
		err = errors.Join(err, unix.Unlinkat(f.dir.fd, f.temp, 0))
	}
	return err
}

// publish closes the file and gives it its name. It ends the file also when it
// fails, and then what had the name before still has it.
func (t *Tree) publish(f *newFile, name, path string) error {
	if f.temp == "" {
		err := t.naming.link(f.fd, f.dir.fd, name)
		if err == nil {
			if err = unix.Close(f.fd); err != nil {
				err = errors.Join(err, unix.Unlinkat(f.dir.fd, name, 0))
			}
			return err
		}
		if !errors.Is(err, unix.EEXIST) || !t.options.Overwrite {
			return errors.Join(err, unix.Close(f.fd))
		}
		f.temp = t.tempName()
		if err := t.naming.link(f.fd, f.dir.fd, f.temp); err != nil {
			return errors.Join(err, unix.Close(f.fd))
		}
	}
	err := unix.Close(f.fd)
	if err == nil && t.options.Overwrite {
		if err = replaceable(f.dir, name, path); err == nil {
			err = unix.Renameat(f.dir.fd, f.temp, f.dir.fd, name)
		}
	} else if err == nil {
		err = renameNew(f.dir.fd, f.temp, name)
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(f.dir.fd, f.temp, 0))
	}
	return nil
}

// renameNew renames within a directory and fails with EEXIST if the name is
// taken, by the best way that the filesystem knows.
func renameNew(dir int, from, to string) error {
	err := unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE)
	if unsupported(err) || errors.Is(err, unix.EINVAL) {
		err = renameByLink(dir, from, to)
	}
	if unsupported(err) || notPermitted(err) {
		err = renameIfFree(dir, from, to)
	}
	return err
}

// renameByLink never replaces anything either: a hard link takes a free name only.
func renameByLink(dir int, from, to string) error {
	if err := unix.Linkat(dir, from, dir, to, 0); err != nil {
		return err
	}
	return unix.Unlinkat(dir, from, 0)
}

// renameIfFree looks first. What takes the name in that moment is replaced.
func renameIfFree(dir int, from, to string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, to, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		return unix.EEXIST
	}
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	return unix.Renameat(dir, from, dir, to)
}
