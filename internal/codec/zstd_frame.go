package codec

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// The parts of a zstd frame, from RFC 8878.
const (
	zstdMagic         = 0xFD2FB528
	skippableMagic    = 0x184D2A50 // to 0x184D2A5F
	zstdMaxBlock      = 128 << 10
	zstdMaxHeader     = 18
	zstdChecksumFlag  = 1 << 2
	zstdSingleSegment = 1 << 5
	zstdBlockHeader   = 3
	zstdRawBlock      = 0
	zstdRLEBlock      = 1
	zstdReservedBlock = 3
)

// zstdHeader is what the header of a frame says.
type zstdHeader struct {
	size       int    // of the header itself, in bytes
	window     uint64 // what a decoder must remember
	content    int64  // uncompressed size; -1 if the header does not say
	checksum   bool
	skippable  bool
	skipLength int64 // of a skippable frame: bytes after the header
}

// parseZstdHeader reads the header at the start of b; bytes that are missing
// are damage.
func parseZstdHeader(b []byte) (zstdHeader, error) {
	if len(b) < 8 {
		return zstdHeader{}, damaged("zstd frame header is cut off after %d bytes", len(b))
	}
	magic := binary.LittleEndian.Uint32(b)
	if magic&^0xF == skippableMagic {
		return zstdHeader{size: 8, skippable: true, skipLength: int64(binary.LittleEndian.Uint32(b[4:]))}, nil
	}
	if magic != zstdMagic {
		return zstdHeader{}, damaged("no zstd frame starts with %#08x", magic)
	}
	descriptor := b[4]
	if descriptor&0x1B != 0 { // dictionary, reserved and unused bits: we write none
		return zstdHeader{}, damaged("zstd frame descriptor %#02x is not one of ours", descriptor)
	}
	h := zstdHeader{size: 5, checksum: descriptor&zstdChecksumFlag != 0, content: -1}
	single := descriptor&zstdSingleSegment != 0
	if !single {
		exponent, mantissa := b[h.size]>>3, uint64(b[h.size]&7)
		base := uint64(1) << (10 + exponent)
		h.window = base + base/8*mantissa
		h.size++
	}
	width := [...]int{0, 2, 4, 8}[descriptor>>6]
	if width == 0 && single {
		width = 1
	}
	if len(b) < h.size+width {
		return zstdHeader{}, damaged("zstd frame header is cut off after %d bytes", len(b))
	}
	field := b[h.size:]
	h.size += width
	switch width {
	case 1:
		h.content = int64(field[0])
	case 2:
		h.content = int64(binary.LittleEndian.Uint16(field)) + 256
	case 4:
		h.content = int64(binary.LittleEndian.Uint32(field))
	case 8:
		h.content = int64(binary.LittleEndian.Uint64(field))
		if h.content < 0 {
			return zstdHeader{}, damaged("zstd frame claims %d bytes", uint64(h.content))
		}
	}
	if single {
		h.window = uint64(h.content)
	}
	return h, nil
}

// peeker gives up to n bytes of a file from off on, fewer only at its end. The
// slice is valid until the next call.
type peeker func(off int64, n int) ([]byte, error)

// slicePeeker reads from memory.
func slicePeeker(b []byte) peeker {
	return func(off int64, n int) ([]byte, error) {
		if off < 0 || off >= int64(len(b)) {
			return nil, nil
		}
		return b[off:min(off+int64(n), int64(len(b)))], nil
	}
}

// walkZstdFrame finds the end of the frame at off by its block headers alone.
// Damage is reported as such; other errors are those of peek.
func walkZstdFrame(peek peeker, off int64) (h zstdHeader, end int64, err error) {
	b, err := peek(off, zstdMaxHeader)
	if err != nil {
		return h, off, err
	}
	if h, err = parseZstdHeader(b); err != nil {
		return h, off, err
	}
	end = off + int64(h.size)
	if h.skippable {
		end += h.skipLength
		return h, end, wantEnd(peek, end)
	}
	largest := min(h.window, zstdMaxBlock)
	for last := false; !last; {
		if b, err = peek(end, zstdBlockHeader); err != nil {
			return h, end, err
		}
		if len(b) < zstdBlockHeader {
			return h, end, damaged("zstd frame at %d has no last block", off)
		}
		header := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		kind, size := header>>1&3, uint64(header>>3)
		if kind == zstdReservedBlock || size > largest {
			return h, end, damaged("zstd frame at %d has a block of type %d with %d bytes", off, kind, size)
		}
		if kind == zstdRLEBlock {
			size = 1
		}
		last = header&1 != 0
		end += zstdBlockHeader + int64(size)
	}
	if h.checksum {
		end += 4
	}
	return h, end, wantEnd(peek, end)
}

// wantEnd checks that the file reaches to end.
func wantEnd(peek peeker, end int64) error {
	b, err := peek(end-1, 1)
	if err == nil && len(b) == 0 {
		err = damaged("zstd frame would end at %d, after the end of the data", end)
	}
	return err
}

// appendRawZstd appends a frame of raw blocks: the plain bytes, three bytes
// before every 128 KiB of them, and a checksum.
func appendRawZstd(dst, src []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, zstdMagic)
	// Content size in four bytes, single segment, checksum.
	dst = append(dst, 2<<6|zstdSingleSegment|zstdChecksumFlag)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
	rest := src
	for {
		block := rest[:min(len(rest), zstdMaxBlock)]
		rest = rest[len(block):]
		header := uint32(len(block))<<3 | zstdRawBlock<<1
		if len(rest) == 0 {
			header |= 1
		}
		dst = append(dst, byte(header), byte(header>>8), byte(header>>16))
		dst = append(dst, block...)
		if len(rest) == 0 {
			return appendContentChecksum(dst, src)
		}
	}
}

// appendContentChecksum appends the low four bytes of the content's XXH64.
func appendContentChecksum(dst, content []byte) []byte {
	return binary.LittleEndian.AppendUint32(dst, uint32(xxhash.Sum64(content)))
}
