package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

func space(path string) (Space, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return Space{}, err
	}
	return Space{
		Total: multiply(stat.Blocks, int64(stat.Bsize)),
		Free:  multiply(stat.Bavail, int64(stat.Bsize)),
	}, nil
}

func sameFilesystem(a, b string) (bool, error) { return sameDevice(a, b) }

func filesystem(path string) (string, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return "", &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return unix.ByteSliceToString(stat.Fstypename[:]), nil
}
