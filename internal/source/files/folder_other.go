//go:build !linux

package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"capstan"
)

// folder is a directory. Here it is known by its path, so a directory that is
// renamed during the scan is lost, and paths have the system's length limit.
type folder struct{ path string }

func (f *folder) retain() *folder { return f }

func (f *folder) release() {}

func openFolder(host string) (*folder, error) {
	if st, err := examine(os.Stat(host)); err != nil || st.kind != capstan.KindDir {
		return nil, errors.Join(err, notKind(st.kind != capstan.KindDir && err == nil))
	}
	return &folder{path: host}, nil
}

func notKind(wrong bool) error {
	if wrong {
		return syscall.ENOTDIR
	}
	return nil
}

func (f *folder) at(name string) string { return filepath.Join(f.path, name) }

func (f *folder) sub(name string) (*folder, error) {
	if st, err := f.lstat(name); err != nil || st.kind != capstan.KindDir {
		return nil, errors.Join(err, notKind(err == nil))
	}
	return &folder{path: f.at(name)}, nil
}

func (f *folder) descend(path string) (*folder, error) {
	return openFolder(f.at(filepath.FromSlash(path)))
}

func (f *folder) stat() (stat, error) { return examine(os.Stat(f.path)) }

func (f *folder) lstat(name string) (stat, error) { return examine(os.Lstat(f.at(name))) }

func (f *folder) readlink(name string) (string, error) {
	target, err := os.Readlink(f.at(name))
	return target, reason(err)
}

func (f *folder) list(_ *[]byte, add func(name []byte, kind capstan.EntryKind)) error {
	entries, err := os.ReadDir(f.path)
	for _, entry := range entries {
		add([]byte(entry.Name()), kindOf(entry.Type()))
	}
	return reason(err)
}

func (f *folder) open(name string, _ *bool) (file, error) {
	st, err := f.lstat(name) // opening a fifo would wait for its writer
	if err != nil {
		return file{}, err
	}
	if st.kind != capstan.KindFile {
		return file{}, errors.New("not a regular file")
	}
	opened, err := os.Open(f.at(name))
	return file{opened}, reason(err)
}

// statHost examines what lies at a path, symbolic links followed.
func statHost(host string) (stat, error) { return examine(os.Stat(host)) }

// file is an open regular file.
type file struct{ f *os.File }

func (f file) close() { _ = f.f.Close() } // it was only read

func (f file) stat() (stat, error) { return examine(f.f.Stat()) }

// readAt reads up to len(p) bytes; 0 without an error means the end.
func (f file) readAt(p []byte, offset int64) (int, error) {
	n, err := f.f.ReadAt(p, offset)
	if n > 0 || errors.Is(err, io.EOF) {
		return n, nil
	}
	return n, reason(err)
}

func (f file) sequential() {}

func (f file) extents(int64) ([]capstan.Extent, bool, error) { return nil, false, nil }

// attrTarget and attrReader stand for extended attributes, which are not read here.
type attrTarget struct{}

type attrReader struct{}

func (f *folder) attributesOf(string) attrTarget { return attrTarget{} }

func (f *folder) attributes() attrTarget { return attrTarget{} }

func (f file) attributes() attrTarget { return attrTarget{} }

func (attrReader) read(attrTarget, *capstan.Entry) {}

// reason takes off the path that errors of package os repeat.
func reason(err error) error {
	if wrapped := (*fs.PathError)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func examine(info fs.FileInfo, err error) (stat, error) {
	if err != nil {
		return stat{}, reason(err)
	}
	mode := info.Mode()
	st := stat{kind: kindOf(mode), mode: uint32(mode.Perm()), mtime: info.ModTime(), size: info.Size(), allocated: info.Size(), links: 1}
	for bit, flag := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			st.mode |= flag
		}
	}
	st.fromSystem(info)
	return st, nil
}

func kindOf(mode fs.FileMode) capstan.EntryKind {
	switch mode.Type() {
	case 0:
		return capstan.KindFile
	case fs.ModeDir:
		return capstan.KindDir
	case fs.ModeSymlink:
		return capstan.KindSymlink
	case fs.ModeNamedPipe:
		return capstan.KindFifo
	case fs.ModeSocket:
		return capstan.KindSocket
	case fs.ModeDevice:
		return capstan.KindBlkDevice
	case fs.ModeDevice | fs.ModeCharDevice:
		return capstan.KindCharDevice
	}
	return 0
}
