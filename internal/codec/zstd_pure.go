package codec

import (
	"errors"

	"github.com/klauspost/compress/zstd"
)

// pureCompressor is zstd in Go alone.
type pureCompressor struct{ enc *zstd.Encoder }

func newPureCompressor(level int) (zstdCompressor, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(true),
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
	if err != nil {
		return nil, err
	}
	return &pureCompressor{enc: enc}, nil
}

func (c *pureCompressor) compress(dst, src []byte) []byte { return c.enc.EncodeAll(src, dst) }

// pureDecompressor is zstd in Go alone.
type pureDecompressor struct{ dec *zstd.Decoder }

func newPureDecompressor() (zstdDecompressor, error) {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(2*MaxFrame))
	if err != nil {
		return nil, err
	}
	return &pureDecompressor{dec: dec}, nil
}

func (d *pureDecompressor) decompress(dst, src []byte) ([]byte, error) {
	start := len(dst)
	out, err := d.dec.DecodeAll(src, dst)
	if err != nil {
		return dst[:start], err
	}
	if cap(out) != cap(dst) {
		return dst[:start], errors.New("the frame is longer than it says")
	}
	return out, nil
}
