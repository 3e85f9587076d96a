package pgdata

import "encoding/binary"

// WALPageHeader is how many bytes of a WAL file ParseWALPage needs.
const WALPageHeader = 16

// ParseWALPage reads the beginning of a WAL page (XLogPageHeaderData): where in the
// WAL it is, and on which timeline. A segment that was recycled still says where it
// was before. ok is false for bytes that are no such page.
func ParseWALPage(data []byte) (at LSN, timeline uint32, ok bool) {
	if len(data) < WALPageHeader {
		return 0, 0, false
	}
	// XLOG_PAGE_MAGIC is 0xD106 in 13 and 0xD118 in 18.
	magic := binary.LittleEndian.Uint16(data)
	return LSN(binary.LittleEndian.Uint64(data[8:])), binary.LittleEndian.Uint32(data[4:]), magic >= 0xD100 && magic <= 0xD1FF
}
