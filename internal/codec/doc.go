// Package codec turns ranges of a tar stream into independent frames and back,
// and keeps the list of frames that makes an archive readable from the middle.
//
// An archive is frames one after another, then an index. A frame is one zstd
// frame, one gzip member, or (without compression) a virtual range of the file;
// it can be decoded without any other. The whole file is what `zstd -d` or
// `gzip -d` reads: the index hides in a skippable frame or in the extra fields
// of empty members. docs/format.md is the specification.
//
// Use: one Encoder or Decoder per goroutine, reused from frame to frame; the
// functions on indexes keep no state. Nothing here blocks except on the
// io.ReaderAt that a caller passes in. What a medium holds is never trusted:
// output, table sizes and frame sizes are bounded, and everything that does not
// fit is an error that wraps capstan.ErrDamaged.
package codec

import (
	"fmt"

	"capstan"
)

// MaxFrame is the longest frame, in uncompressed bytes, that a Decoder and an
// index accept: memory for reading is bounded by it whatever an archive claims.
const MaxFrame = 64 << 20

// VirtualFrame is the length of the frames into which ReadIndex and ScanFrames
// cut an archive that is not compressed; the last one is shorter.
const VirtualFrame = 4 << 20

// DefaultLevel is the compression level that stands for 0.
const DefaultLevel = 1

// CheckLevel gives the level to use for a codec: DefaultLevel for 0, else level
// itself where the codec has it. Levels are 1 to 19 for zstd and 1 to 9 for
// gzip; without compression every level is the same.
func CheckLevel(c capstan.Codec, level int) (int, error) {
	highest := 0
	switch c {
	case capstan.CodecZstd:
		highest = 19
	case capstan.CodecGzip:
		highest = 9
	case capstan.CodecNone:
		return 0, nil
	default:
		return 0, fmt.Errorf("unknown compression %q", c)
	}
	if level == 0 {
		return DefaultLevel, nil
	}
	if level < 1 || level > highest {
		return 0, fmt.Errorf("%s has no level %d (1 to %d)", c, level, highest)
	}
	return level, nil
}

// damaged is an error that says what is wrong with foreign bytes.
func damaged(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, capstan.ErrDamaged)...)
}
