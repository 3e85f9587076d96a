package codec

import (
	"encoding/binary"
	"io"

	"github.com/cespare/xxhash/v2"

	"capstan"
)

// The zstd seekable format 0.1.0, as zstd/contrib/seekable_format describes it:
// a skippable frame of one eight-byte entry per frame and a nine-byte footer.
// The format protects its entries by nothing, so a second skippable frame
// before it holds the sum of the whole table.
const (
	seekTableMagic  = 0x184D2A5E
	seekFooterMagic = 0x8F92EAB1
	seekFooter      = 9
	seekEntry       = 8
	skipHeader      = 8

	checkMagic = 0x184D2A5D
	checkText  = "capstan archive 1\n" // names the format's version
	checkFrame = skipHeader + len(checkText) + 8

	maxIndexFrames = 1 << 23 // 32 TiB in frames of 4 MiB; bounds the memory for an index
)

func appendZstdIndex(dst []byte, frames []Frame) []byte {
	table := make([]byte, 0, skipHeader+len(frames)*seekEntry+seekFooter)
	table = binary.LittleEndian.AppendUint32(table, seekTableMagic)
	table = binary.LittleEndian.AppendUint32(table, uint32(len(frames)*seekEntry+seekFooter))
	for _, f := range frames {
		table = binary.LittleEndian.AppendUint32(table, uint32(f.Size))
		table = binary.LittleEndian.AppendUint32(table, uint32(f.Length))
	}
	table = binary.LittleEndian.AppendUint32(table, uint32(len(frames)))
	table = append(table, 0) // no checksums in the entries: every frame has its own
	table = binary.LittleEndian.AppendUint32(table, seekFooterMagic)

	dst = binary.LittleEndian.AppendUint32(dst, checkMagic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(checkText)+8))
	dst = append(dst, checkText...)
	dst = binary.LittleEndian.AppendUint64(dst, xxhash.Sum64(table))
	return append(dst, table...)
}

func readZstdIndex(r io.ReaderAt, size int64) ([]Frame, error) {
	var footer [seekFooter]byte
	if err := readAt(r, footer[:], size-seekFooter); err != nil {
		return nil, err
	}
	count := int64(binary.LittleEndian.Uint32(footer[:]))
	if binary.LittleEndian.Uint32(footer[5:]) != seekFooterMagic || footer[4] != 0 {
		return nil, damaged("no table of frames at the end of the file")
	}
	length := skipHeader + count*seekEntry + seekFooter
	tail := int64(checkFrame) + length
	if count > maxIndexFrames || tail > size {
		return nil, damaged("table of frames claims %d frames", count)
	}
	b := make([]byte, tail)
	if err := readAt(r, b, size-tail); err != nil {
		return nil, err
	}
	check, table := b[:checkFrame], b[checkFrame:]
	if err := checkSeekTable(check, table); err != nil {
		return nil, err
	}
	list := chain{codec: capstan.CodecZstd, frames: make([]Frame, 0, count)}
	for entry := table[skipHeader:]; len(entry) > seekFooter; entry = entry[seekEntry:] {
		err := list.add(int64(binary.LittleEndian.Uint32(entry)), int64(binary.LittleEndian.Uint32(entry[4:])))
		if err != nil {
			return nil, err
		}
	}
	if list.offset != size-tail {
		return nil, damaged("table of frames ends at %d, the frames at %d", list.offset, size-tail)
	}
	return list.frames, nil
}

// checkSeekTable compares the frame before the table with the table.
func checkSeekTable(check, table []byte) error {
	text := check[skipHeader : skipHeader+len(checkText)]
	if binary.LittleEndian.Uint32(check) != checkMagic || string(text) != checkText ||
		binary.LittleEndian.Uint32(check[4:]) != uint32(len(checkText)+8) {
		return damaged("no checksum stands before the table of frames")
	}
	if binary.LittleEndian.Uint64(check[skipHeader+len(checkText):]) != xxhash.Sum64(table) {
		return damaged("the checksum of the table of frames does not match")
	}
	if binary.LittleEndian.Uint32(table) != seekTableMagic ||
		binary.LittleEndian.Uint32(table[4:]) != uint32(len(table)-skipHeader) {
		return damaged("the table of frames has no header")
	}
	return nil
}
