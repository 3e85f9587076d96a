package disk

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"capstan"
)

// Rename gives a file or directory a new name within one filesystem, replacing
// a file that bears it. It never copies: across filesystems it is refused
// (capstan.ErrRefused), nothing touched. It is durable only after SyncDir of
// the directories.
func (f FS) Rename(from, to string) error {
	return f.rename(from, to, replace)
}

// RenameNew is Rename, except that it fails with fs.ErrExist when the new name
// is taken. Where the filesystem cannot do both in one step (some network and
// FUSE filesystems), it looks first; another writer in that moment may then
// lose its file, so writers there must not share names.
func (f FS) RenameNew(from, to string) error {
	return f.rename(from, to, renameNew)
}

func (f FS) rename(from, to string, do func(from, to string) error) error {
	if err := f.before(OpRename, from, 0); err != nil {
		return err
	}
	err := do(from, to)
	if isCrossDevice(err) {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "rename", Object: from + " to " + to, Err: err,
			Safe: "nothing was moved",
			Next: "put both on one filesystem: between two, a rename would be a copy of every byte",
		}
	}
	return classed(err)
}

// renameLooking is renameNew for filesystems that cannot refuse by themselves.
func renameLooking(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		err := os.Link(from, to) // refuses a taken name in one step
		if err == nil {
			if err = os.Remove(from); err != nil {
				err = errors.Join(err, os.Remove(to)) // under both names it is neither done nor undone
			}
			return err
		}
		if errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replace(from, to)
}

// WriteNew makes a small file durable under a name that must be free, else it
// fails with fs.ErrExist. After an error the file is not there, unless the error
// is that of the last sync. A kill on the way may leave a hidden file with the
// ending ".part" beside it, never a file that is not whole.
func (f FS) WriteNew(path string, data []byte) error {
	return f.writeWhole(path, data, f.RenameNew)
}

// Replace is WriteNew for a name that may be taken; a reader sees the old file
// or the new one.
func (f FS) Replace(path string, data []byte) error {
	return f.writeWhole(path, data, f.Rename)
}

func (f FS) writeWhole(path string, data []byte, rename func(from, to string) error) error {
	dir, name := filepath.Split(path)
	part := filepath.Join(dir, "."+name+"."+rand.Text()+".part")
	file, err := f.Create(part)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = rename(part, path)
	}
	if err != nil {
		if removeErr := f.Remove(part); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}
