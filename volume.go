package capstan

import (
	"context"
	"io"
	"time"
)

// VolumeInfo describes a volume.
type VolumeInfo struct {
	ID       VolumeID  `json:"id"`
	Kind     string    `json:"kind"` // "dir", "bucket", "tape"
	Location string    `json:"location"`
	Created  time.Time `json:"created"`
}

// Volume is where archives rest. Files are grouped by set; a name is unique
// within its set. Methods may be called from several goroutines, but a file is
// written by one.
type Volume interface {
	Info() VolumeInfo
	// ClaimSet reserves the name of a set on the volume for this catalog. It is
	// repeatable for a set that the same owner claimed before, and then makes the names
	// of its finished files durable, which a process that was killed may have left
	// undurable. It fails with ErrSetExists when the name belongs to anyone else;
	// nothing is then touched.
	ClaimSet(ctx context.Context, set SetID, owner string) error
	// Create starts a file of the set, replacing an unfinished one of that name
	// but never a finished one (fs.ErrExist).
	Create(ctx context.Context, set SetID, name string) (VolumeFile, error)
	// Open opens a finished file for reading; fs.ErrNotExist if there is none.
	Open(ctx context.Context, set SetID, name string) (VolumeReader, error)
	// List names the finished files of a set with their sizes, by name.
	List(ctx context.Context, set SetID) ([]StoredFile, error)
	// Sets lists the sets that the volume holds, oldest first.
	Sets(ctx context.Context) ([]SetID, error)
	// Discard removes the unfinished files of a set, and tells how many.
	Discard(ctx context.Context, set SetID) (int, error)
	// Remove deletes finished files of a set, then the set's directory if it is empty.
	Remove(ctx context.Context, set SetID, names ...string) error
	// Free is the room that is left for archives, the reserve already taken off.
	Free(ctx context.Context) (Bytes, error)
	Close() error
}

// Replacer is a Volume on which a finished file can be replaced.
type Replacer interface {
	// Replace starts the successor of a finished file, of a set that this home claimed;
	// fs.ErrNotExist if there is none to replace. Its Commit puts it in the old one's
	// place in one step: at any moment, also after a power loss, one of the two is there
	// whole. When Commit fails, either may be there.
	Replace(ctx context.Context, set SetID, name string) (VolumeFile, error)
}

// VolumeFile is a file being written. Exactly one of Commit and Abort ends it.
type VolumeFile interface {
	io.Writer
	// Commit makes the file durable under its final name: when it returns nil,
	// a power loss cannot undo it. After an error the file is not there.
	Commit(ctx context.Context) error
	// Abort removes what was written. It is safe after Commit, and then does nothing.
	Abort() error
}

// ClaimTeller is a Volume that tells who claimed a set.
type ClaimTeller interface {
	// Claimant gives what ClaimSet was called with for the set; empty if the volume
	// has no such set, ErrSetExists if it has one that nobody can be told of.
	Claimant(ctx context.Context, set SetID) (owner string, err error)
}

// GuardedFile is a VolumeFile whose writer may lose the right to write it at any
// moment, for example while its process is stopped.
type GuardedFile interface {
	VolumeFile
	// CommitIf is Commit, but asks before it begins and again right before the step
	// that gives the file its name, after everything that takes long. An error of may
	// ends the file as Drop does, and is returned.
	CommitIf(ctx context.Context, may func() error) error
	// Drop ends the file and leaves the volume as it is: what was written belongs to
	// the volume's present owner, whose Discard removes it. After Commit it does nothing.
	Drop() error
}

// VolumeReader reads a finished file. ReadAt may be called from several goroutines.
type VolumeReader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// StoredFile is a finished file of a set.
type StoredFile struct {
	Name string
	Size int64
}
