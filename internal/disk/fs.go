package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"capstan"
)

const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// FS does file operations. The zero value is the plain operating system. It may
// be copied and used from several goroutines, if Faults may.
type FS struct {
	Faults Faults // nil: none
}

// Stat describes what path leads to, symlinks followed.
func (f FS) Stat(path string) (fs.FileInfo, error) {
	if err := f.before(OpStat, path, 0); err != nil {
		return nil, err
	}
	return os.Stat(path)
}

// Lstat describes what path names; a symlink is not followed.
func (f FS) Lstat(path string) (fs.FileInfo, error) {
	if err := f.before(OpStat, path, 0); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

// ReadDir lists a directory by name.
func (f FS) ReadDir(path string) ([]fs.DirEntry, error) {
	if err := f.before(OpList, path, 0); err != nil {
		return nil, err
	}
	return os.ReadDir(path)
}

// Remove deletes a file or an empty directory. It is durable only after
// SyncDir of the parent.
func (f FS) Remove(path string) error {
	if err := f.before(OpRemove, path, 0); err != nil {
		return err
	}
	return os.Remove(path)
}

// SyncDir makes the names in a directory durable: files created, renamed and
// removed there. Where the filesystem has no such operation (Windows; some
// network and FUSE filesystems answer "invalid" or "not supported"), it does
// nothing, since nothing can be done.
func (f FS) SyncDir(path string) error {
	if err := f.before(OpSyncDir, path, 0); err != nil {
		return err
	}
	return classed(syncDir(path))
}

// Mkdir makes one directory, and fails with fs.ErrExist if the name is taken.
// It is durable only after SyncDir of the parent.
func (f FS) Mkdir(path string) error {
	if err := f.before(OpMkdir, path, 0); err != nil {
		return err
	}
	return classed(os.Mkdir(path, dirMode))
}

// MkdirAll makes a directory and those above it where they are missing, and
// makes each that it made durable. A directory that is there already is fine.
func (f FS) MkdirAll(path string) error {
	path = filepath.Clean(path)
	info, err := f.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: string(OpMkdir), Path: path, Err: errors.New("is there and not a directory")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent == path {
		return err
	}
	if err := f.MkdirAll(parent); err != nil {
		return err
	}
	if err := f.Mkdir(path); err != nil {
		info, statErr := f.Stat(path)
		if !errors.Is(err, fs.ErrExist) || statErr != nil || !info.IsDir() {
			return err
		}
	}
	return f.SyncDir(parent)
}

// ReadFile reads a small file whole. One that is longer than limit bytes is an
// error, so that a foreign file cannot fill the memory.
func (f FS) ReadFile(path string, limit int64) (data []byte, err error) {
	file, err := f.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := f.before(OpRead, path, int(min(limit, file.Size()))); err != nil {
		return nil, err
	}
	data, err = io.ReadAll(io.NewSectionReader(file.file, 0, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: string(OpRead), Path: path, Err: fmt.Errorf("is longer than %s", capstan.Bytes(limit))}
	}
	return data, nil
}

// classed adds capstan.ErrNoSpace to an error that means it.
func classed(err error) error {
	if err == nil || !isNoSpace(err) || errors.Is(err, capstan.ErrNoSpace) {
		return err
	}
	return fmt.Errorf("%w: %w", capstan.ErrNoSpace, err)
}
