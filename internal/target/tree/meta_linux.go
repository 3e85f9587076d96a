package tree

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"capstan"
)

// inode is something just made, held open so that what is done to it is done
// to nothing else.
type inode struct {
	fd     int
	opaque bool   // fd is O_PATH: it may be a symlink, a device or a fifo
	dir    int    // of an opaque one: where it is
	name   string // and under which name
}

func (in inode) chown(uid, gid uint32) error {
	if uid == math.MaxUint32 || gid == math.MaxUint32 {
		return unix.EINVAL // to chown(2) this is no id: it would leave what is there
	}
	return retry(func() error {
		if in.opaque {
			return unix.Fchownat(in.fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH)
		}
		return unix.Fchown(in.fd, int(uid), int(gid))
	})
}

func (in inode) chmod(mode uint32) error {
	return retry(func() error {
		if in.opaque {
			return unix.Chmod(procPath(in.fd), mode)
		}
		return unix.Fchmod(in.fd, mode)
	})
}

// chtimes sets the time of modification and leaves that of access.
func (in inode) chtimes(mtime unix.Timespec) error {
	times := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
	if in.opaque {
		return unix.UtimesNanoAt(in.dir, in.name, times[:], unix.AT_SYMLINK_NOFOLLOW)
	}
	// futimens(3) is utimensat(2) with no path at all, which x/sys cannot say.
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(in.fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// foreign tells whether the entry's owner is another than new files get from
// this process.
func (t *Tree) foreign(e *capstan.Entry) bool {
	return t.owners && (e.UID != t.uid || e.GID != t.gid)
}

// describeFile gives a new file everything but its name.
func (t *Tree) describeFile(f *newFile, path string, e *capstan.Entry) error {
	in := inode{fd: f.fd}
	st, err := f.stat()
	if err != nil {
		return err
	}
	if f.dir.inherits {
		if err := t.dropACLs(in, &st, e); err != nil {
			return err
		}
	}
	return t.describe(in, &st, path, e)
}

// birth is what a directory gives to files that are made in it with some mode:
// their owner, group and permissions.
type birth struct {
	asked, mode uint32
	uid, gid    uint32
}

// stat tells what the file was given when it was made; without an ACL to inherit it
// is what the one before it in the directory was given.
func (f *newFile) stat() (st unix.Stat_t, err error) {
	if born := f.dir.born.Load(); born != nil && born.asked == f.mode && !f.dir.inherits {
		st.Mode, st.Uid, st.Gid = born.mode, born.uid, born.gid
		return st, nil
	}
	if err := unix.Fstat(f.fd, &st); err != nil {
		return st, err
	}
	f.dir.born.Store(&birth{asked: f.mode, mode: st.Mode, uid: st.Uid, gid: st.Gid})
	return st, nil
}

// describeDir gives a directory everything, and takes from it what it has
// inherited or had before.
func (t *Tree) describeDir(in inode, path string, e *capstan.Entry) error {
	var st unix.Stat_t
	if err := unix.Fstat(in.fd, &st); err != nil {
		return err
	}
	if err := t.dropOthers(in, &st, e); err != nil {
		return err
	}
	return t.describe(in, &st, path, e)
}

// describeLink gives a symlink what it can have: it has no mode and no ACL.
func (t *Tree) describeLink(in inode, st *unix.Stat_t, path string, e *capstan.Entry) error {
	if _, err := t.setOwner(in, st, path, e); err != nil {
		return err
	}
	if err := t.setXattrs(in, path, e); err != nil {
		return err
	}
	return t.setTime(in, path, e)
}

// describe gives owner, xattrs, ACLs, mode and time. The order matters: a new
// owner clears setuid and capabilities, xattrs of the user need a file that its
// owner may write, and an ACL changes the mode.
func (t *Tree) describe(in inode, st *unix.Stat_t, path string, e *capstan.Entry) error {
	lost, err := t.setOwner(in, st, path, e)
	if err != nil {
		return err
	}
	mode := e.Mode & 0o7777
	if mode&lost != 0 {
		mode &^= lost
		t.notes.add(path, "setuid or setgid not restored, since the owner was not")
	}
	if err := t.setXattrs(in, path, e); err != nil {
		return err
	}
	allowed, err := t.setACLs(in, path, e)
	if err != nil {
		return err
	}
	mode &= allowed
	if e.ACL != "" || st.Mode&0o7777 != mode {
		err := in.chmod(mode)
		switch {
		case err == nil:
		case notPermitted(err) || unsupported(err):
			t.notes.add(path, "permissions not restored: the target does not allow it")
		default:
			return fmt.Errorf("set mode: %w", err)
		}
	}
	return t.setTime(in, path, e)
}

// setOwner restores the owner and group where that is asked for and permitted;
// lost are the mode bits that must not be set since they would speak for
// somebody else.
func (t *Tree) setOwner(in inode, st *unix.Stat_t, path string, e *capstan.Entry) (lost uint32, err error) {
	if st.Uid == e.UID && st.Gid == e.GID {
		return 0, nil
	}
	if t.owners {
		err := in.chown(e.UID, e.GID)
		if err == nil {
			if st.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 {
				return 0, nil
			}
			return 0, unix.Fstat(in.fd, st) // whether those bits are still set depends
		}
		// EINVAL: the id does not exist in this user namespace.
		forgiven := notPermitted(err) || unsupported(err) || errors.Is(err, unix.EINVAL)
		if t.mustOwn || !forgiven {
			return 0, fmt.Errorf("set owner: %w", err)
		}
		t.notes.add(path, "owners not restored: the target does not allow it")
	} else if t.options.Owners == nil {
		t.notes.add(path, "owners not restored: not running as root")
	} else {
		t.notes.add(path, "owners not restored, as asked")
	}
	if st.Uid != e.UID {
		lost |= unix.S_ISUID
	}
	if st.Gid != e.GID {
		lost |= unix.S_ISGID
	}
	return lost, nil
}

// setTime restores the time of modification, if the source knew one.
func (t *Tree) setTime(in inode, path string, e *capstan.Entry) error {
	if e.ModTime.IsZero() {
		return nil
	}
	mtime, err := unix.TimeToTimespec(e.ModTime)
	if err == nil {
		if err := in.chtimes(mtime); err != nil {
			return fmt.Errorf("set time: %w", err)
		}
		// Every filesystem keeps 1970 to 2038; beyond, some silently keep another time.
		if s := e.ModTime.Unix(); s >= 0 && s < 1<<31 {
			return nil
		}
	}
	var st unix.Stat_t
	if statErr := unix.Fstat(in.fd, &st); statErr != nil {
		return statErr
	}
	if err != nil || !e.ModTime.Equal(time.Unix(st.Mtim.Unix())) {
		t.notes.add(path, "times before 1970 or after 2038 not restored: the target cannot hold them")
	}
	return nil
}
