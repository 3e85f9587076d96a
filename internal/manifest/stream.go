package manifest

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a foreign compressor can make a reader use;
// it is what RFC 8878 (3.1.1.1.2) asks of every decoder, and what the zstd command
// uses up to its level 19.
const maxWindow = 8 << 20

// ourWindow is some 3,000 lines. The encoder lives beside a whole run and holds it
// twice; more makes the manifest no smaller.
const ourWindow = 1 << 20

// newCompressor writes one zstd stream with a checksum onto w; Close ends it.
// The manifest is not cut into frames as archives are, since it is always read
// from its beginning.
func newCompressor(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithWindowSize(ourWindow), zstd.WithLowerEncoderMem(true))
}

// newDecompressor reads zstd frames as one stream; Close frees its memory.
func newDecompressor(r io.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}
