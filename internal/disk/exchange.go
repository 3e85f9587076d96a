package disk

import (
	"errors"
	"io/fs"
	"os"

	"capstan"
)

// ErrNoExchange reports a filesystem, or a system, that cannot exchange two names
// in one step. Nothing was touched.
var ErrNoExchange = errors.New("two names cannot be exchanged in one step here")

// Exchange gives each of two files or directories the other's name, in one step:
// whoever looks sees both before or both after it, and so does the next start after
// a power failure. Both must be on one filesystem, else it is refused
// (capstan.ErrRefused); a filesystem that has no such operation gives
// ErrNoExchange. It is durable only after SyncDir of the directories.
func (f FS) Exchange(a, b string) error {
	if err := f.before(OpExchange, a, 0); err != nil {
		return err
	}
	err := exchange(a, b)
	if isCrossDevice(err) {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "exchange", Object: a + " with " + b, Err: err,
			Safe: "nothing was moved", Next: "put both on one filesystem",
		}
	}
	return classed(err)
}

// SetOwner gives a file or directory to a user and a group, and sets its
// permissions. A symlink is not followed but refused. It is durable only after a
// sync of the file itself.
func (f FS) SetOwner(path string, uid, gid int, mode fs.FileMode) error {
	if err := f.before(OpSetOwner, path, 0); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return &fs.PathError{Op: string(OpSetOwner), Path: path, Err: errors.New("is a symbolic link")}
	}
	if err := os.Lchown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
