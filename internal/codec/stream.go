package codec

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"capstan"
)

// maxStreamWindow bounds the memory that a foreign zstd stream can ask for; it is the
// window of "zstd --long", and of pg_dump's zstd:long.
const maxStreamWindow = 128 << 20

// NewStream reads what any program compressed with a codec, frame after frame, from
// its beginning. Closing it frees its memory and does not close r. Input that does
// not fit is an error of the codec's; memory is at most some 130 MiB, as much as the
// stream's window asks for, as a rule a few MiB.
func NewStream(c capstan.Codec, r io.Reader) (io.ReadCloser, error) {
	switch c {
	case capstan.CodecZstd:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxStreamWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case capstan.CodecGzip:
		return gzip.NewReader(r)
	case capstan.CodecNone:
		return io.NopCloser(r), nil
	}
	return nil, fmt.Errorf("unknown compression %q", c)
}
