package pgdata

import (
	"fmt"
	"strconv"
	"strings"
)

// SpillName is what the name of a spill file says: the changes of one
// transaction or subtransaction within one WAL segment.
type SpillName struct {
	XID   uint32
	Start LSN // where that segment begins
}

// String is the name as servers write it. The numbers are not padded, so that the
// order of the names says nothing.
func (n SpillName) String() string {
	return fmt.Sprintf("xid-%d-lsn-%X-%X.spill", n.XID, uint32(n.Start>>32), uint32(n.Start))
}

// ParseSpillName reads a file's name; false for one that no server gives to a
// spill file, down to its form: what is accepted is exactly what String writes.
func ParseSpillName(name string) (SpillName, bool) {
	const longest = len("xid-4294967295-lsn-FFFFFFFF-FFFFFFFF.spill")
	if len(name) > longest {
		return SpillName{}, false
	}
	rest, ok := strings.CutPrefix(name, "xid-")
	if !ok {
		return SpillName{}, false
	}
	if rest, ok = strings.CutSuffix(rest, ".spill"); !ok {
		return SpillName{}, false
	}
	xid, place, ok := strings.Cut(rest, "-lsn-")
	if !ok {
		return SpillName{}, false
	}
	high, low, ok := strings.Cut(place, "-")
	if !ok || !plain(xid, "0123456789") || !plain(high, "0123456789ABCDEF") || !plain(low, "0123456789ABCDEF") {
		return SpillName{}, false
	}
	x, err1 := strconv.ParseUint(xid, 10, 32)
	h, err2 := strconv.ParseUint(high, 16, 32)
	l, err3 := strconv.ParseUint(low, 16, 32)
	if err1 != nil || err2 != nil || err3 != nil {
		return SpillName{}, false
	}
	return SpillName{XID: uint32(x), Start: LSN(h<<32 | l)}, true
}

// plain reports whether text is a number of these digits without leading zeros.
func plain(text, digits string) bool {
	if text == "" || (len(text) > 1 && text[0] == '0') {
		return false
	}
	return strings.Trim(text, digits) == ""
}

// SegmentName is the name of the WAL file that holds a place, on a timeline of a
// cluster whose segments have this size. The server's pg_walfile_name names the
// segment before when the place is its very end (up to 15); this is the one that
// begins there.
func SegmentName(timeline uint32, at LSN, size uint32) string {
	if size == 0 {
		return ""
	}
	number, perFile := uint64(at)/uint64(size), uint64(1<<32)/uint64(size)
	return fmt.Sprintf("%08X%08X%08X", timeline, number/perFile, number%perFile)
}

// SegmentStart is where the WAL segment begins that holds a place.
func SegmentStart(at LSN, size uint32) LSN { return at - at%LSN(size) }
