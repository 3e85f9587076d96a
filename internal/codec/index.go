package codec

import (
	"context"
	"errors"
	"fmt"
	"io"

	"capstan"
)

// Frame is one independently readable range of an archive.
type Frame struct {
	Offset int64 // of the frame within the file
	Size   int64 // of the frame within the file, in bytes
	Start  int64 // of its content within the tar stream
	Length int64 // of its content, in bytes
	// Damaged is set by ScanFrames for a range in which no frame could be
	// recognised; Length is then what the frame said, or a guess.
	Damaged bool
}

// AppendIndex appends the index of frames to dst: the bytes that end an
// archive. The frames must lie one after another from offset 0. Without
// compression there is no index.
func AppendIndex(dst []byte, c capstan.Codec, frames []Frame) []byte {
	switch c {
	case capstan.CodecZstd:
		return appendZstdIndex(dst, frames)
	case capstan.CodecGzip:
		return appendGzipIndex(dst, frames)
	case capstan.CodecNone:
	}
	return dst
}

// ReadIndex reads the index at the end of an archive of size bytes. It reads
// little besides the index. An index that is missing, damaged or contradicts
// size is an error that wraps capstan.ErrDamaged; ScanFrames may then help.
func ReadIndex(r io.ReaderAt, size int64, c capstan.Codec) ([]Frame, error) {
	switch c {
	case capstan.CodecZstd:
		return readZstdIndex(r, size)
	case capstan.CodecGzip:
		return readGzipIndex(r, size)
	case capstan.CodecNone:
		return virtualFrames(size), nil
	}
	return nil, fmt.Errorf("unknown compression %q", c)
}

// ScanFrames rebuilds the list of frames by reading the archive from its start:
// zstd by its block headers, gzip by inflating it. Where the bytes make no sense
// it looks for the next frame and lists what it skipped as one damaged frame.
// It returns the cause of ctx, or an error of r; damage is no error.
func ScanFrames(ctx context.Context, r io.ReaderAt, size int64, c capstan.Codec) ([]Frame, error) {
	switch c {
	case capstan.CodecZstd:
		return scan(ctx, newZstdScanner(r, size), size)
	case capstan.CodecGzip:
		return scan(ctx, newGzipScanner(r, size), size)
	case capstan.CodecNone:
		return virtualFrames(size), nil
	}
	return nil, fmt.Errorf("unknown compression %q", c)
}

// virtualFrames cuts a file that is not compressed.
func virtualFrames(size int64) []Frame {
	frames := make([]Frame, 0, (size+VirtualFrame-1)/VirtualFrame)
	for off := int64(0); off < size; off += VirtualFrame {
		n := min(VirtualFrame, size-off)
		frames = append(frames, Frame{Offset: off, Size: n, Start: off, Length: n})
	}
	return frames
}

// chain lays sizes and lengths one after another and checks each of them. It
// returns the end of the last frame.
type chain struct {
	codec  capstan.Codec
	frames []Frame
	offset int64
	start  int64
}

func (c *chain) add(size, length int64) error {
	if length <= 0 || length > MaxFrame || size <= 0 || size > int64(Bound(c.codec, int(length))) {
		return damaged("index lists a frame of %d bytes for %d", size, length)
	}
	c.frames = append(c.frames, Frame{Offset: c.offset, Size: size, Start: c.start, Length: length})
	c.offset += size
	c.start += length
	return nil
}

// readAt reads exactly len(b) bytes; a file that ends before is damage.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	if off < 0 {
		return damaged("the file is too short")
	}
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return damaged("the file ends at %d", off+int64(n))
	}
	return err
}
