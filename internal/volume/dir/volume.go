package dir

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"capstan"
	"capstan/internal/disk"
)

// Options say how a directory is opened as a volume.
type Options struct {
	// Create makes the directory and its marker if they are missing. Without it,
	// a directory that is no volume is capstan.ErrNotFound, and opening writes
	// nothing, so a read-only medium will do.
	Create bool
	// Known is the volume that the caller expects at the path, empty if it has
	// none in mind. A directory without this volume's marker is then refused.
	Known capstan.VolumeID
	// Catalog is the caller's owner id: the sets that it claimed before may be
	// written and removed.
	Catalog string
	// Reserve is the room that archives leave free, see Volume.Free. 0 is the
	// default; a negative one means none.
	Reserve capstan.Bytes
	FS      disk.FS
}

// Volume is a directory. It implements capstan.Volume.
type Volume struct {
	path    string
	disk    disk.FS
	catalog string
	reserve capstan.Bytes
	info    capstan.VolumeInfo

	mu   sync.Mutex // held for the fields below, never across I/O
	ours map[capstan.SetID]bool
	seen fs.FileInfo // of the marker when it was last read and found right; nil at first
}

var (
	_ capstan.Volume      = (*Volume)(nil)
	_ capstan.Replacer    = (*Volume)(nil)
	_ capstan.ClaimTeller = (*Volume)(nil)
)

// Open opens a directory as a volume. A directory with other files in it is
// fine; they are never touched. It is refused (capstan.ErrRefused, nothing
// touched) when the marker is not that of o.Known, is damaged, or is newer than
// this program.
func Open(path string, o Options) (*Volume, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	v := &Volume{
		path: path, disk: o.FS, catalog: o.Catalog,
		info: capstan.VolumeInfo{Kind: "dir", Location: path},
		ours: map[capstan.SetID]bool{},
	}
	if err := v.directory(o); err != nil {
		return nil, err
	}
	if err := v.adopt(o); err != nil {
		return nil, err
	}
	if v.reserve, err = v.chooseReserve(o.Reserve); err != nil {
		return nil, err
	}
	return v, nil
}

// directory makes sure that the path is a directory.
func (v *Volume) directory(o Options) error {
	info, err := v.disk.Stat(v.path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &capstan.Error{Class: capstan.ErrUsage, Op: "open volume", Object: v.path, Err: errors.New("it is not a directory")}
	case !errors.Is(err, fs.ErrNotExist):
		return &capstan.Error{Op: "open volume", Object: v.path, Err: err}
	case o.Known != "":
		return v.notMounted(o.Known, errors.New("the directory does not exist"))
	case !o.Create:
		return &capstan.Error{Class: capstan.ErrNotFound, Op: "open volume", Object: v.path, Err: err}
	}
	if err := v.disk.MkdirAll(v.path); err != nil {
		return &capstan.Error{
			Op: "make volume", Object: v.path, Err: err,
			Safe: "nothing was written", Next: "name a directory that can be made, or leave the volume out",
		}
	}
	return nil
}

// Info describes the volume as it was when it was opened.
func (v *Volume) Info() capstan.VolumeInfo { return v.info }

// Close ends the use of the volume. It holds nothing open, so that it can be
// unmounted at any time.
func (v *Volume) Close() error { return nil }

// Open opens a finished file for reading, of any catalog's set.
func (v *Volume) Open(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeReader, error) {
	if err := v.check(ctx, set, name); err != nil {
		return nil, err
	}
	reader, err := v.disk.Open(v.file(set, name))
	if err != nil {
		return nil, err
	}
	return reader, nil
}

// check is the beginning of every method: the context, the words, the volume.
func (v *Volume) check(ctx context.Context, set capstan.SetID, names ...string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if _, err := capstan.ParseSetID(string(set)); err != nil {
		return err
	}
	for _, name := range names {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return v.present()
}

func (v *Volume) dir(set capstan.SetID) string { return filepath.Join(v.path, string(set)) }

func (v *Volume) file(set capstan.SetID, name string) string {
	return filepath.Join(v.path, string(set), name)
}
