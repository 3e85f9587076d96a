//go:build cgo && ((linux && (amd64 || arm64)) || (darwin && (amd64 || arm64)) || (windows && amd64))

package codec

import "github.com/valyala/gozstd"

// Engine names the zstd implementation that encoders and decoders use.
const Engine = "libzstd"

// libCompressor is the reference implementation, linked statically. Its
// contexts come from a pool that the binding keeps per thread.
type libCompressor struct{ level int }

func newZstdCompressor(level int) (zstdCompressor, error) {
	return &libCompressor{level: level}, nil
}

// compress sets the checksum flag in the frame header and appends the checksum,
// since the binding offers no way to ask the library for it.
func (c *libCompressor) compress(dst, src []byte) []byte {
	start := len(dst)
	dst = gozstd.CompressLevel(dst, src, c.level)
	dst[start+4] |= zstdChecksumFlag
	return appendContentChecksum(dst, src)
}

type libDecompressor struct{}

func newZstdDecompressor() (zstdDecompressor, error) { return libDecompressor{}, nil }

func (libDecompressor) decompress(dst, src []byte) ([]byte, error) {
	room := cap(dst) - len(dst)
	return gozstd.DecompressLimited(dst, src, max(room, 1))
}
