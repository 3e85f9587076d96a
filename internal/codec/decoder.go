package codec

import (
	"fmt"
	"slices"

	"capstan"
)

// zstdDecompressor decodes src, one whole frame, into the room between the
// length and the capacity of dst, never beyond it, and checks the checksum.
type zstdDecompressor interface {
	decompress(dst, src []byte) ([]byte, error)
}

// Decoder reads frames of one codec. It is not safe for concurrent use; a
// worker keeps one and reuses it. It holds no resources besides memory.
type Decoder struct {
	codec capstan.Codec
	zstd  zstdDecompressor
	gzip  *gzipDecompressor
}

// NewDecoder makes a decoder.
func NewDecoder(c capstan.Codec) (*Decoder, error) {
	d := &Decoder{codec: c}
	var err error
	switch c {
	case capstan.CodecZstd:
		d.zstd, err = newZstdDecompressor()
	case capstan.CodecGzip:
		d.gzip = newGzipDecompressor()
	case capstan.CodecNone:
	default:
		return nil, fmt.Errorf("unknown compression %q", c)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Decode appends the content of src, which must be exactly one frame of want
// uncompressed bytes with a right checksum, to dst. Anything else is an error
// that wraps capstan.ErrDamaged, and dst is then returned as it came. No more
// than want bytes are allocated or written, whatever the frame claims.
func (d *Decoder) Decode(dst, src []byte, want int) ([]byte, error) {
	if want < 0 || want > MaxFrame {
		return dst, damaged("a frame of %d bytes is not one of ours", want)
	}
	start := len(dst)
	var err error
	switch d.codec {
	case capstan.CodecZstd:
		err = d.decodeZstd(&dst, src, want)
	case capstan.CodecGzip:
		dst = slices.Grow(dst, want)[:start+want]
		err = d.gzip.decompress(dst[start:], src)
	case capstan.CodecNone:
		if len(src) != want {
			return dst, damaged("%d bytes are there instead of %d", len(src), want)
		}
		return append(dst, src...), nil
	}
	if err != nil {
		return dst[:start], fmt.Errorf("%w: %w", err, capstan.ErrDamaged)
	}
	return dst, nil
}

func (d *Decoder) decodeZstd(dst *[]byte, src []byte, want int) error {
	h, end, err := walkZstdFrame(slicePeeker(src), 0)
	switch {
	case err != nil:
		return err
	case h.skippable || !h.checksum || end != int64(len(src)):
		return fmt.Errorf("%d bytes are not one zstd frame of ours", len(src))
	case h.content != int64(want):
		return fmt.Errorf("zstd frame holds %d bytes instead of %d", h.content, want)
	}
	start := len(*dst)
	// A capacity of one keeps decoders that insist on room for output content.
	room := max(want, 1)
	buffer := slices.Grow(*dst, room)
	out, err := d.zstd.decompress(buffer[:start:start+room], src)
	if err != nil {
		return err
	}
	if len(out) != start+want {
		return fmt.Errorf("zstd frame gave %d bytes instead of %d", len(out)-start, want)
	}
	*dst = buffer[:start+want]
	if &out[:1][0] != &buffer[:1][0] { // the decoder moved to memory of its own
		copy((*dst)[start:], out[start:])
	}
	return nil
}
