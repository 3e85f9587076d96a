package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// Members that we write (RFC 1952) have one of two fixed headers: ten bytes
// without flags, or the same with the flag for an extra field.
const (
	memberHeader  = 10
	memberTrailer = 8
	extraFlag     = 1 << 2
	maxStored     = 65535
)

// plainHeader: no name, no time, unknown system.
const plainHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

// appender is a writer onto a slice.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// gzipCompressor makes members of deflated data.
type gzipCompressor struct {
	out     appender
	deflate *flate.Writer
}

func newGzipCompressor(level int) (*gzipCompressor, error) {
	c := &gzipCompressor{}
	var err error
	c.deflate, err = flate.NewWriter(&c.out, level)
	return c, err
}

func (c *gzipCompressor) compress(dst, src []byte) []byte {
	c.out.b = append(dst, plainHeader...)
	c.deflate.Reset(&c.out)
	// Writing to memory does not fail.
	_, _ = c.deflate.Write(src)
	_ = c.deflate.Close()
	dst = appendMemberTrailer(c.out.b, src)
	c.out.b = nil
	return dst
}

// appendStoredMember appends a member of stored blocks.
func appendStoredMember(dst, src []byte) []byte {
	dst = append(dst, plainHeader...)
	for rest := src; ; {
		block := rest[:min(len(rest), maxStored)]
		rest = rest[len(block):]
		final := byte(0)
		if len(rest) == 0 {
			final = 1
		}
		dst = append(dst, final)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(block)))
		dst = binary.LittleEndian.AppendUint16(dst, ^uint16(len(block)))
		dst = append(dst, block...)
		if final == 1 {
			return appendMemberTrailer(dst, src)
		}
	}
}

func appendMemberTrailer(dst, content []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(content))
	return binary.LittleEndian.AppendUint32(dst, uint32(len(content)))
}

// gzipDecompressor reads members that we wrote.
type gzipDecompressor struct {
	in      bytes.Reader
	inflate io.Reader
	probe   [1]byte
}

func newGzipDecompressor() *gzipDecompressor {
	d := &gzipDecompressor{}
	d.inflate = flate.NewReader(&d.in)
	return d
}

// decompress fills out from the one member that src is.
func (d *gzipDecompressor) decompress(out, src []byte) error {
	if len(src) < memberHeader+memberTrailer || string(src[:memberHeader]) != plainHeader {
		return errors.New("no gzip member of ours starts there")
	}
	d.in.Reset(src[memberHeader:])
	resetter, ok := d.inflate.(flate.Resetter)
	if !ok {
		return errors.New("the inflater cannot be reset")
	}
	if err := resetter.Reset(&d.in, nil); err != nil {
		return err
	}
	if _, err := io.ReadFull(d.inflate, out); err != nil {
		return err
	}
	if n, err := io.ReadFull(d.inflate, d.probe[:]); n != 0 {
		return errors.New("the member is longer than it should be")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	if d.in.Len() != memberTrailer {
		return errors.New("the member does not end where it should")
	}
	trailer := src[len(src)-memberTrailer:]
	if binary.LittleEndian.Uint32(trailer) != crc32.ChecksumIEEE(out) ||
		binary.LittleEndian.Uint32(trailer[4:]) != uint32(len(out)) {
		return errors.New("the member's checksum does not match")
	}
	return nil
}
