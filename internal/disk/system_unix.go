//go:build unix

package disk

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

func isCrossDevice(err error) bool { return errors.Is(err, unix.EXDEV) }

func replace(from, to string) error { return os.Rename(from, to) }

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}

// own changes nothing where nothing is to be changed: only root may give a file away.
func own(file *os.File, uid, gid uint32) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid == uid && stat.Gid == gid {
		return nil
	}
	return file.Chown(int(uid), int(gid))
}
