package codec

import (
	"encoding/binary"
	"io"
	"slices"

	"github.com/cespare/xxhash/v2"

	"capstan"
)

// The gzip index lies in the extra fields of empty members at the end of the
// file, in as many members as it takes, the first frames in the first of them.
// Each ends in twenty-two bytes of fixed meaning, so that it is found from its end:
//
//	member = header(10) XLEN(2) "CP"(2) LEN(2) payload deflate-end(2) zero(8)
//	payload = version(1) total(4) first(4) count(4) {size(4) length(4)}* sum(8) memberLength(4)
const (
	indexHeader   = "\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
	indexID       = "CP"
	indexVersion  = 1
	indexEnd      = "\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00" // empty deflate stream, CRC-32 and size of nothing
	indexBefore   = len(indexHeader) + 2 + len(indexID) + 2
	indexFixed    = 1 + 4 + 4 + 4 // before the entries
	indexAfter    = 8 + 4         // after the entries: sum, length of the member
	indexEntry    = 8
	indexMost     = (65535 - len(indexID) - 2 - indexFixed - indexAfter) / indexEntry
	indexOverhead = indexBefore + indexFixed + indexAfter + len(indexEnd)
)

func appendGzipIndex(dst []byte, frames []Frame) []byte {
	for first := 0; ; {
		part := frames[first:min(len(frames), first+indexMost)]
		dst = appendIndexMember(dst, part, first, len(frames))
		first += len(part)
		if first >= len(frames) {
			return dst
		}
	}
}

func appendIndexMember(dst []byte, part []Frame, first, total int) []byte {
	payload := indexFixed + len(part)*indexEntry + indexAfter
	dst = append(dst, indexHeader...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(indexID)+2+payload))
	dst = append(dst, indexID...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(payload))
	start := len(dst)
	dst = append(dst, indexVersion)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(total))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(first))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(part)))
	for _, f := range part {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(f.Size))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(f.Length))
	}
	dst = binary.LittleEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(indexOverhead+len(part)*indexEntry))
	return append(dst, indexEnd...)
}

// readGzipIndex goes through the members backwards, from the end of the file.
func readGzipIndex(r io.ReaderAt, size int64) ([]Frame, error) {
	var parts [][]byte // entries, last member first
	end, total, below := size, int64(-1), int64(-1)
	for below != 0 {
		m, err := readIndexMember(r, end)
		if err != nil {
			return nil, err
		}
		if total < 0 {
			total, below = m.total, m.total
		}
		count := int64(len(m.entries) / indexEntry)
		if m.total != total || m.first+count != below || (count == 0 && total != 0) {
			return nil, damaged("the members of the index do not fit together")
		}
		parts, below, end = append(parts, m.entries), m.first, end-m.size
	}
	list := chain{codec: capstan.CodecGzip}
	for _, part := range slices.Backward(parts) {
		for entry := part; len(entry) > 0; entry = entry[indexEntry:] {
			err := list.add(int64(binary.LittleEndian.Uint32(entry)), int64(binary.LittleEndian.Uint32(entry[4:])))
			if err != nil {
				return nil, err
			}
		}
	}
	if list.offset != end {
		return nil, damaged("the index ends at %d, the frames at %d", list.offset, end)
	}
	return list.frames, nil
}

// indexMember is one member of the index.
type indexMember struct {
	total, first int64
	entries      []byte
	size         int64
}

// readIndexMember reads the member that ends at end.
func readIndexMember(r io.ReaderAt, end int64) (indexMember, error) {
	tail := make([]byte, 4+len(indexEnd))
	if err := readAt(r, tail, end-int64(len(tail))); err != nil {
		return indexMember{}, err
	}
	size := int64(binary.LittleEndian.Uint32(tail))
	if string(tail[4:]) != indexEnd || size < int64(indexOverhead) || size > int64(indexOverhead+indexMost*indexEntry) {
		return indexMember{}, damaged("no index at the end of the file")
	}
	b := make([]byte, size)
	if err := readAt(r, b, end-size); err != nil {
		return indexMember{}, err
	}
	return parseIndexMember(b)
}

// parseIndexMember checks and takes apart the member that b is.
func parseIndexMember(b []byte) (indexMember, error) {
	payload := len(b) - indexBefore - len(indexEnd)
	head := append([]byte(indexHeader), 0, 0, indexID[0], indexID[1], 0, 0)
	if payload < indexFixed+indexAfter || payload > 65535 {
		return indexMember{}, damaged("an index of %d bytes is not one of ours", len(b))
	}
	binary.LittleEndian.PutUint16(head[len(indexHeader):], uint16(len(indexID)+2+payload))
	binary.LittleEndian.PutUint16(head[indexBefore-2:], uint16(payload))
	if string(b[:indexBefore]) != string(head) {
		return indexMember{}, damaged("the index has no header")
	}
	p := b[indexBefore : indexBefore+payload]
	entries := p[indexFixed : payload-indexAfter]
	if binary.LittleEndian.Uint64(p[payload-indexAfter:]) != xxhash.Sum64(p[:payload-indexAfter]) {
		return indexMember{}, damaged("the checksum of the index does not match")
	}
	m := indexMember{
		total:   int64(binary.LittleEndian.Uint32(p[1:])),
		first:   int64(binary.LittleEndian.Uint32(p[5:])),
		entries: entries,
		size:    int64(len(b)),
	}
	count := int64(binary.LittleEndian.Uint32(p[9:]))
	if p[0] != indexVersion || len(entries) != int(count)*indexEntry || m.total > maxIndexFrames {
		return indexMember{}, damaged("index of version %d with %d of %d frames", p[0], count, m.total)
	}
	return m, nil
}
