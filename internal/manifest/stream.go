package manifest

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a foreign compressor can make a reader use;
// it is what the zstd command takes without being asked.
const maxWindow = 128 << 20

// newCompressor writes one zstd stream with a checksum onto w; Close ends it.
// The manifest is not cut into frames as archives are, since it is always read
// from its beginning.
func newCompressor(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
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
