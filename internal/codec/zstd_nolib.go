//go:build !(cgo && ((linux && (amd64 || arm64)) || (darwin && (amd64 || arm64)) || (windows && amd64)))

package codec

// Engine names the zstd implementation that encoders and decoders use.
const Engine = "klauspost"

func newZstdCompressor(level int) (zstdCompressor, error) { return newPureCompressor(level) }

func newZstdDecompressor() (zstdDecompressor, error) { return newPureDecompressor() }
