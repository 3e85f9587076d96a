package manifest

import (
	"io"

	"github.com/klauspost/compress/zstd"

	"capstan"
	"capstan/internal/codec"
)

// maxWindow bounds the memory that a foreign compressor can make a reader use;
// it is what RFC 8878 (3.1.1.1.2) asks of every decoder, and what the zstd command
// uses up to its level 19.
const maxWindow = 8 << 20

// maxFrame bounds what one Write compresses at once. Window and memory of whoever reads
// it are no larger.
const maxFrame = 2 * flushAt

// compressor writes zstd frames with checksums, one after another, which together are
// one stream (RFC 8878, 3). They have no index as archives have, since a manifest is
// always read from its beginning.
type compressor struct {
	to  io.Writer
	enc *codec.Encoder
	out []byte
}

func newCompressor(w io.Writer) (*compressor, error) {
	enc, err := codec.NewEncoder(capstan.CodecZstd, 1)
	if err != nil {
		return nil, err
	}
	return &compressor{to: w, enc: enc}, nil
}

// Write makes a frame of b, or several of more than one holds.
func (c *compressor) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		frame := b[n:min(len(b), n+maxFrame)]
		c.out = c.enc.Encode(c.out[:0], frame)
		if _, err = c.to.Write(c.out); err == nil {
			n += len(frame)
		}
	}
	return n, err
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
