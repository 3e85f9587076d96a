package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
)

const (
	direntBuffer = 64 << 10
	// maxWalk is the longest path given to one system call, below PATH_MAX.
	maxWalk = 4000
	// openAlways keep a call from following a link, from waiting for the other
	// end of a fifo, and from leaking into children.
	openAlways = unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
)

// folder is an open directory that names are looked up in, so that a directory
// that is renamed meanwhile, or whose path is longer than PATH_MAX, stays the
// same one. It is closed with its last reference.
type folder struct {
	fd   int
	refs atomic.Int32
}

func newFolder(fd int) *folder {
	f := &folder{fd: fd}
	f.refs.Store(1)
	return f
}

func (f *folder) retain() *folder {
	f.refs.Add(1)
	return f
}

func (f *folder) release() {
	if f.refs.Add(-1) == 0 {
		_ = unix.Close(f.fd) // it was only read
	}
}

// openFolder opens a directory by its path and follows symbolic links.
func openFolder(host string) (*folder, error) {
	fd, err := openat(unix.AT_FDCWD, host, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return newFolder(fd), nil
}

// sub opens the directory called name, which must not be a symbolic link.
func (f *folder) sub(name string) (*folder, error) {
	fd, err := openat(f.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME|openAlways)
	if errors.Is(err, unix.EPERM) {
		fd, err = openat(f.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|openAlways)
	}
	if err != nil {
		return nil, err
	}
	return newFolder(fd), nil
}

// descend opens the directory at a path of any length below f; an empty path
// gives f again. Symbolic links on the way are followed: the caller compares
// inodes.
func (f *folder) descend(path string) (*folder, error) {
	at := f.retain()
	for path != "" {
		piece := path
		if len(piece) > maxWalk {
			cut := strings.LastIndexByte(path[:maxWalk], '/')
			if cut <= 0 {
				at.release()
				return nil, unix.ENAMETOOLONG
			}
			piece = path[:cut]
		}
		path = strings.TrimPrefix(path[len(piece):], "/")
		fd, err := openat(at.fd, piece, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
		at.release()
		if err != nil {
			return nil, err
		}
		at = newFolder(fd)
	}
	return at, nil
}

func (f *folder) stat() (stat, error) { return fstat(f.fd) }

// lstat examines name without following it.
func (f *folder) lstat(name string) (stat, error) {
	return statAt(f.fd, name, unix.AT_SYMLINK_NOFOLLOW)
}

// statHost examines what lies at a path, symbolic links followed.
func statHost(host string) (stat, error) { return statAt(unix.AT_FDCWD, host, 0) }

// readlink gives the target of a symbolic link, of any length.
func (f *folder) readlink(name string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(f.fd, name, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			size /= 4
		case err != nil:
			return "", err
		case n < size:
			return string(buf[:n]), nil
		}
	}
}

// list calls add with every name in the directory, in no order; kind is 0 where
// the filesystem does not tell it. name is valid during the call only.
func (f *folder) list(buf *[]byte, add func(name []byte, kind capstan.EntryKind)) error {
	if *buf == nil {
		*buf = make([]byte, direntBuffer)
	}
	for {
		n, err := unix.ReadDirent(f.fd, *buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return nil
		}
		if err := parseDirents((*buf)[:n], add); err != nil {
			return err
		}
	}
}

// errNames reports a directory that no sound filesystem would return.
var errNames = errors.New("its list of names is damaged")

// parseDirents takes apart what getdents64(2) returns: records of inode,
// offset, record length, type and a name that a zero byte ends.
func parseDirents(records []byte, add func(name []byte, kind capstan.EntryKind)) error {
	const nameAt = 19
	for len(records) > 0 {
		if len(records) < nameAt {
			return errNames
		}
		length := int(binary.NativeEndian.Uint16(records[16:]))
		if length < nameAt || length > len(records) {
			return errNames
		}
		name := records[nameAt:length]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		gone := binary.NativeEndian.Uint64(records) == 0
		kind := direntKind(records[18])
		records = records[length:]
		if gone || string(name) == "." || string(name) == ".." {
			continue
		}
		if len(name) == 0 || bytes.IndexByte(name, '/') >= 0 {
			return errNames
		}
		add(name, kind)
	}
	return nil
}

func direntKind(t byte) capstan.EntryKind {
	switch t {
	case unix.DT_REG:
		return capstan.KindFile
	case unix.DT_DIR:
		return capstan.KindDir
	case unix.DT_LNK:
		return capstan.KindSymlink
	case unix.DT_CHR:
		return capstan.KindCharDevice
	case unix.DT_BLK:
		return capstan.KindBlkDevice
	case unix.DT_FIFO:
		return capstan.KindFifo
	case unix.DT_SOCK:
		return capstan.KindSocket
	}
	return 0
}

// open opens the file called name for reading. noatime is tried first and
// cleared once the system denies it.
func (f *folder) open(name string, noatime *bool) (file, error) {
	if *noatime {
		fd, err := openat(f.fd, name, unix.O_RDONLY|unix.O_NOATIME|openAlways)
		if !errors.Is(err, unix.EPERM) {
			return f.opened(name, fd, err)
		}
		*noatime = false
	}
	fd, err := openat(f.fd, name, unix.O_RDONLY|openAlways)
	return f.opened(name, fd, err)
}

// opened waits for a lease: a file that a file server has leased to a client
// (fcntl(2), F_SETLEASE) refuses a non-blocking open until it is given back, in
// lease-break-time at the latest.
func (f *folder) opened(name string, fd int, err error) (file, error) {
	if !errors.Is(err, unix.EAGAIN) {
		return file{fd}, err
	}
	pin, err := openat(f.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return file{}, err
	}
	defer func() { _ = unix.Close(pin) }()
	if st, err := fstat(pin); err != nil || st.kind != capstan.KindFile {
		return file{}, errors.Join(unix.EAGAIN, err)
	}
	fd, err = openat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(pin), unix.O_RDONLY|unix.O_CLOEXEC)
	return file{fd}, err
}

func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func statAt(dir int, name string, flags int) (stat, error) {
	var raw unix.Stat_t
	for {
		err := unix.Fstatat(dir, name, &raw, flags)
		if err == nil {
			return convert(&raw), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return stat{}, err
		}
	}
}

func fstat(fd int) (stat, error) {
	var raw unix.Stat_t
	for {
		err := unix.Fstat(fd, &raw)
		if err == nil {
			return convert(&raw), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return stat{}, err
		}
	}
}

func convert(raw *unix.Stat_t) stat {
	st := stat{
		mode: raw.Mode & 0o7777, uid: raw.Uid, gid: raw.Gid,
		mtime: time.Unix(raw.Mtim.Unix()), ctime: time.Unix(raw.Ctim.Unix()),
		dev: uint64(raw.Dev), ino: raw.Ino, links: uint32(raw.Nlink),
		size: raw.Size, allocated: raw.Blocks * 512,
		major: unix.Major(uint64(raw.Rdev)), minor: unix.Minor(uint64(raw.Rdev)),
	}
	switch raw.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		st.kind = capstan.KindFile
	case unix.S_IFDIR:
		st.kind = capstan.KindDir
	case unix.S_IFLNK:
		st.kind = capstan.KindSymlink
	case unix.S_IFCHR:
		st.kind = capstan.KindCharDevice
	case unix.S_IFBLK:
		st.kind = capstan.KindBlkDevice
	case unix.S_IFIFO:
		st.kind = capstan.KindFifo
	case unix.S_IFSOCK:
		st.kind = capstan.KindSocket
	}
	return st
}
