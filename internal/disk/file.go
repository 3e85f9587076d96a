package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// File is a new file being written from its start to its end. One goroutine
// uses it at a time. After the first failure of Write or Sync every further one
// returns the same error: what the system says of a file after a failed
// write-out cannot be believed.
type File struct {
	fs     FS
	file   *os.File
	path   string
	size   int64
	err    error
	closed bool
	out    writeOut
}

// Create makes a new file, for its owner alone, and fails with fs.ErrExist if
// the name is taken, also by a dangling symlink.
func (f FS) Create(path string) (*File, error) {
	if err := f.before(OpCreate, path, 0); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, classed(err)
	}
	return &File{fs: f, file: file, path: path}, nil
}

// DropBehind asks that what is written out does not stay in the page cache, so
// that gigabytes of archives do not push out what others work with. It is for
// files that nobody reads soon. Call it before the first Write.
func (f *File) DropBehind() { f.out.drop = true }

// Path is the path that the file was created under.
func (f *File) Path() string { return f.path }

// Size is the number of bytes written so far.
func (f *File) Size() int64 { return f.size }

// Stat describes the open file, whatever its path leads to by now.
func (f *File) Stat() (fs.FileInfo, error) {
	if err := f.fs.before(OpStat, f.path, 0); err != nil {
		return nil, err
	}
	return f.file.Stat()
}

// Write appends p. While a large file grows, what was written is sent to the
// medium in the background, and Write waits when the medium falls far behind;
// the Sync at the end has little left to do.
func (f *File) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	fault := f.fs.before(OpWrite, f.path, len(p))
	if fault != nil {
		p = p[:shortWrite(fault, len(p))]
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	if err == nil {
		err = fault
	}
	if err == nil {
		err = f.out.advance(f.file, f.path, f.size)
	}
	f.err = classed(err)
	return n, f.err
}

// Own gives the file to a user and a group, by number. That it belongs to them
// already is no act, so that a user may say so of his own file.
func (f *File) Own(uid, gid uint32) error {
	if f.err != nil {
		return f.err
	}
	if f.err = f.fs.before(OpOwn, f.path, 0); f.err == nil {
		f.err = own(f.file, uid, gid)
	}
	return f.err
}

// Sync makes the content durable. It blocks until the medium has it.
func (f *File) Sync() error {
	if f.err != nil {
		return f.err
	}
	if f.err = f.fs.before(OpSync, f.path, 0); f.err == nil {
		f.err = classed(f.file.Sync())
	}
	if f.err == nil {
		f.out.finish(f.file)
	}
	return f.err
}

// Close closes the file. Its error counts: some filesystems (LTFS, NFS) say
// only here that the medium is full. A second Close does nothing.
func (f *File) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	fault := f.fs.before(OpClose, f.path, 0)
	if err := f.file.Close(); err != nil {
		return classed(err)
	}
	return fault
}

// Reader reads a finished file at any place. ReadAt may be called from several
// goroutines.
type Reader struct {
	fs   FS
	file *os.File
	size int64
}

// Open opens a regular file for reading. Anything else is refused, so that no
// fifo or device under an expected name can hold the caller.
func (f FS) Open(path string) (*Reader, error) {
	if err := f.before(OpOpen, path, 0); err != nil {
		return nil, err
	}
	info, err := os.Stat(path) // before the opening: that of a fifo blocks
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: string(OpOpen), Path: path, Err: errors.New("is not a regular file")}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err = file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Reader{fs: f, file: file, size: info.Size()}, nil
}

// Size is the file's size in bytes when it was opened.
func (r *Reader) Size() int64 { return r.size }

// ReadAt is that of io.ReaderAt.
func (r *Reader) ReadAt(p []byte, offset int64) (int, error) {
	if err := r.fs.before(OpRead, r.file.Name(), len(p)); err != nil {
		return 0, err
	}
	return r.file.ReadAt(p, offset)
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

var _ io.ReaderAt = (*Reader)(nil)
