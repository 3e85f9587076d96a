package tree

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"capstan"
)

// placeNode restores what has no content: a symlink, a device, a fifo.
func (t *Tree) placeNode(dir *openDir, name, path string, e *capstan.Entry) error {
	at := name
	err := makeNode(dir.fd, at, e)
	if errors.Is(err, unix.EEXIST) && t.options.Overwrite {
		if err := replaceable(dir, name, path); err != nil {
			return err
		}
		at = t.tempName()
		err = makeNode(dir.fd, at, e)
	}
	if err != nil {
		return nodeFailure(path, e.Kind, err)
	}
	err = t.describeNode(dir, at, path, e)
	if err == nil && at != name {
		err = unix.Renameat(dir.fd, at, dir.fd, name)
	}
	if err != nil {
		return failure(path, errors.Join(err, unix.Unlinkat(dir.fd, at, 0)))
	}
	return nil
}

// makeNode makes the thing itself, for its owner only, under a free name.
func makeNode(dir int, name string, e *capstan.Entry) error {
	switch e.Kind {
	case capstan.KindSymlink:
		if e.Link == "" {
			return fmt.Errorf("the symlink has no target: %w", capstan.ErrDamaged)
		}
		return unix.Symlinkat(e.Link, dir, name)
	case capstan.KindFifo:
		return unix.Mknodat(dir, name, unix.S_IFIFO|0o600, 0)
	case capstan.KindCharDevice:
		return unix.Mknodat(dir, name, unix.S_IFCHR|0o600, int(unix.Mkdev(e.Major, e.Minor)))
	case capstan.KindBlkDevice:
		return unix.Mknodat(dir, name, unix.S_IFBLK|0o600, int(unix.Mkdev(e.Major, e.Minor)))
	case capstan.KindFile, capstan.KindDir, capstan.KindHardlink, capstan.KindSocket:
	}
	return kindRefused(name, e.Kind)
}

func nodeFailure(path string, kind capstan.EntryKind, err error) error {
	if kind != capstan.KindSymlink && (notPermitted(err) || unsupported(err)) {
		return &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "restore " + kind.String(), Object: quote(path), Err: err,
			Next: "restore as root, or leave special files out with --no-special",
		}
	}
	return failure(path, err)
}

// describeNode opens what was just made as itself, so that nothing put in its
// place meanwhile gets its mode and owner, and describes it.
func (t *Tree) describeNode(dir *openDir, name, path string, e *capstan.Entry) error {
	fd, err := openat(dir.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeAll([]int{fd})
	in := inode{fd: fd, opaque: true, dir: dir.fd, name: name}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != fileType(e.Kind) || st.Nlink != 1 {
		return errSwapped
	}
	if e.Kind != capstan.KindFifo && e.Kind != capstan.KindSymlink && uint64(st.Rdev) != unix.Mkdev(e.Major, e.Minor) {
		return fmt.Errorf("%w: %d:%d", errDevice, e.Major, e.Minor)
	}
	if e.Kind == capstan.KindSymlink {
		return t.describeLink(in, &st, path, e)
	}
	if dir.inherits {
		if err := t.dropACLs(in, &st, e); err != nil {
			return err
		}
	}
	return t.describe(in, &st, path, e)
}

var (
	errSwapped = errors.New("something else was put in its place while it was restored")
	errDevice  = errors.New("this system has no such device number")
)

func fileType(kind capstan.EntryKind) uint32 {
	switch kind {
	case capstan.KindSymlink:
		return unix.S_IFLNK
	case capstan.KindFifo:
		return unix.S_IFIFO
	case capstan.KindCharDevice:
		return unix.S_IFCHR
	case capstan.KindBlkDevice:
		return unix.S_IFBLK
	case capstan.KindDir:
		return unix.S_IFDIR
	case capstan.KindFile, capstan.KindHardlink, capstan.KindSocket:
	}
	return unix.S_IFREG
}
