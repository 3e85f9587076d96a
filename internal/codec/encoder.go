package codec

import (
	"slices"

	"capstan"
)

// tinyFrame is the length below which trying to compress is pointless; it also
// keeps every zstd frame's content size in its header, which klauspost's
// encoder omits for fewer than 256 bytes.
const tinyFrame = 256

// zstdCompressor appends src as one zstd frame that states its content size and
// ends in a checksum. src is not empty.
type zstdCompressor interface {
	compress(dst, src []byte) []byte
}

// Encoder makes frames of one codec. It is not safe for concurrent use; a
// worker keeps one and reuses it. It holds no resources besides memory.
type Encoder struct {
	codec capstan.Codec
	zstd  zstdCompressor
	gzip  *gzipCompressor
	trial []byte
}

// NewEncoder makes an encoder; level is as in CheckLevel.
func NewEncoder(c capstan.Codec, level int) (*Encoder, error) {
	level, err := CheckLevel(c, level)
	if err != nil {
		return nil, err
	}
	e := &Encoder{codec: c}
	switch c {
	case capstan.CodecZstd:
		e.zstd, err = newZstdCompressor(level)
	case capstan.CodecGzip:
		e.gzip, err = newGzipCompressor(level)
	case capstan.CodecNone:
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Encode appends one frame that holds src to dst and returns the result. Where
// compression saves less than two percent it appends the frame that Store
// would. With Bound(len(src)) bytes of room in dst, zstd allocates nothing.
func (e *Encoder) Encode(dst, src []byte) []byte {
	if e.codec == capstan.CodecNone || len(src) < tinyFrame {
		return e.Store(dst, src)
	}
	start := len(dst)
	dst = e.compress(dst, src)
	if !worthwhile(len(dst)-start, len(src)) {
		return e.Store(dst[:start], src)
	}
	return dst
}

// Store appends one frame that holds src as it is, in the codec's own framing.
func (e *Encoder) Store(dst, src []byte) []byte {
	switch e.codec {
	case capstan.CodecZstd:
		return appendRawZstd(dst, src)
	case capstan.CodecGzip:
		return appendStoredMember(dst, src)
	case capstan.CodecNone:
	}
	return append(dst, src...)
}

// Incompressible reports whether Encode would store sample as it is. A sample
// of some 64 KiB speaks for a file of one kind.
func (e *Encoder) Incompressible(sample []byte) bool {
	if e.codec == capstan.CodecNone || len(sample) < tinyFrame {
		return true
	}
	e.trial = e.compress(e.trial[:0], sample)
	return !worthwhile(len(e.trial), len(sample))
}

// Bound is a number of bytes that a frame of n uncompressed bytes never exceeds.
func (e *Encoder) Bound(n int) int { return Bound(e.codec, n) }

// Bound is a number of bytes that a frame of n uncompressed bytes of the codec
// never exceeds.
func Bound(c capstan.Codec, n int) int {
	if c == capstan.CodecNone {
		return n
	}
	// zstd: ZSTD_compressBound is n + n/256 and at most 64 bytes more for small n,
	// then a checksum; gzip: 5 bytes per 65,535 stored, a header and a trailer.
	return n + n/256 + 256
}

func (e *Encoder) compress(dst, src []byte) []byte {
	if e.gzip != nil {
		return e.gzip.compress(dst, src)
	}
	return e.zstd.compress(slices.Grow(dst, e.Bound(len(src))), src)
}

// worthwhile reports whether compressed bytes save at least two percent.
func worthwhile(compressed, plain int) bool {
	return compressed < plain-plain/50
}
