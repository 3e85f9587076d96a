package pgslot

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// identity is which file something is, and whose.
type identity struct {
	inode    uint64
	uid, gid int
	mode     fs.FileMode // permissions
	dir      bool
}

// lookAt describes what a path names; a symlink is not followed.
func lookAt(path string) (identity, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return identity{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, errors.ErrUnsupported
	}
	return identity{inode: stat.Ino, uid: int(stat.Uid), gid: int(stat.Gid), mode: info.Mode().Perm(), dir: info.IsDir()}, nil
}
