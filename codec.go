package capstan

import "fmt"

// Codec is how an archive is compressed.
type Codec string

// The codecs that a stock tar reads.
const (
	CodecZstd Codec = "zstd"
	CodecGzip Codec = "gzip"
	CodecNone Codec = "none"
)

// ParseCodec reads the value of --compress.
func ParseCodec(s string) (Codec, error) {
	switch c := Codec(s); c {
	case CodecZstd, CodecGzip, CodecNone:
		return c, nil
	}
	return "", fmt.Errorf("unknown compression %q (zstd, gzip or none)", s)
}

// Suffix is the end of an archive's file name, with its leading dot.
func (c Codec) Suffix() string {
	switch c {
	case CodecZstd:
		return ".tar.zst"
	case CodecGzip:
		return ".tar.gz"
	case CodecNone:
	}
	return ".tar"
}
