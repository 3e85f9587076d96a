package disk

import (
	"io/fs"

	"capstan"
)

// Space is the room of a filesystem.
type Space struct {
	Total capstan.Bytes // its size
	Free  capstan.Bytes // what this user may still write
}

// Space asks the filesystem that holds path, which must exist. Network
// filesystems may answer with what they knew a moment ago.
func (f FS) Space(path string) (Space, error) {
	if err := f.before(OpFree, path, 0); err != nil {
		return Space{}, err
	}
	space, err := space(path)
	if err != nil {
		return Space{}, &fs.PathError{Op: "ask for the free space of", Path: path, Err: err}
	}
	return space, nil
}

// Free is the Free of Space.
func (f FS) Free(path string) (capstan.Bytes, error) {
	space, err := f.Space(path)
	return space.Free, err
}

// SameFilesystem reports whether a file can be renamed from one of two existing
// directories into the other. On Linux two mounts of one filesystem are told
// apart too, since a rename between them fails; where the kernel is older than
// 5.8 they are not.
func (f FS) SameFilesystem(a, b string) (bool, error) {
	for _, path := range []string{a, b} {
		if err := f.before(OpStat, path, 0); err != nil {
			return false, err
		}
	}
	return sameFilesystem(a, b)
}

// Filesystem is the kind of filesystem that holds path, as the system calls it
// ("ext4", "nfs4", "fuse.ltfs", "NTFS"), for people to read.
func (f FS) Filesystem(path string) (string, error) {
	if err := f.before(OpStat, path, 0); err != nil {
		return "", err
	}
	return filesystem(path)
}
