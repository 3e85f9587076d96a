package files

import (
	"errors"

	"golang.org/x/sys/unix"

	"capstan"
)

// file is an open regular file.
type file struct{ fd int }

func (f file) close() { _ = unix.Close(f.fd) } // it was only read

func (f file) stat() (stat, error) { return fstat(f.fd) }

// readAt reads up to len(p) bytes; 0 without an error means the end.
func (f file) readAt(p []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pread(f.fd, p, offset)
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, err
		}
	}
}

// sequential tells the system that the file will be read from front to back.
func (f file) sequential() { _ = unix.Fadvise(f.fd, 0, 0, unix.FADV_SEQUENTIAL) } // a hint

// maxExtents bounds what is remembered of one sparse file. Of a file with more,
// the smallest holes are read as the zeros that they stand for.
const maxExtents = 1 << 16

// extents gives the data ranges of a file of that size, or sparse false when it
// has no holes or the filesystem cannot tell.
func (f file) extents(size int64) (data []capstan.Extent, sparse bool, err error) {
	joinBelow := int64(0)
	for at := int64(0); at < size; {
		start, err := unix.Seek(f.fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		if start >= size {
			break
		}
		end, err := unix.Seek(f.fd, start, unix.SEEK_HOLE)
		if errors.Is(err, unix.ENXIO) || err == nil && end <= start {
			break // it was cut short meanwhile
		}
		if err != nil {
			return nil, false, err
		}
		at = min(end, size)
		if data = joinExtent(data, start, at, joinBelow); len(data) == maxExtents {
			data, joinBelow = thinExtents(data)
		}
	}
	whole := len(data) == 1 && data[0] == capstan.Extent{Offset: 0, Length: size}
	if whole || size == 0 {
		return nil, false, nil
	}
	return data, true, nil
}
