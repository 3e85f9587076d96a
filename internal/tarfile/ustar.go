package tarfile

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"capstan"
)

// Offsets of the fields of a ustar header (POSIX.1-2017, pax, "ustar Interchange Format").
const (
	offMode   = 100
	offUID    = 108
	offGID    = 116
	offSize   = 124
	offMtime  = 136
	offSum    = 148
	offFlag   = 156
	offLink   = 157
	offMagic  = 257
	offUser   = 265
	offGroup  = 297
	offMajor  = 329
	offMinor  = 337
	offPrefix = 345
)

const (
	posixMagic = "ustar\x0000"
	gnuMagic   = "ustar  \x00"
)

// zeros is what padding is copied from.
var zeros [Block]byte //nolint:gochecknoglobals // never written

// The headers of extended headers are the same but for their size.
var (
	paxTemplate  = template("././@PaxHeader", 'x', posixMagic) //nolint:gochecknoglobals // a table
	longTemplate = template("././@LongLink", 'L', gnuMagic)    //nolint:gochecknoglobals // a table
)

func template(name string, flag byte, magic string) (b [Block]byte) {
	copy(b[:], name)
	octal(b[offMode:offMode+7], 0o644)
	octal(b[offUID:offUID+7], 0)
	octal(b[offGID:offGID+7], 0)
	octal(b[offMtime:offMtime+11], 0)
	b[offFlag] = flag
	copy(b[offMagic:], magic)
	return b
}

// header writes the ustar header. What does not fit in a field stands in the
// extended header, and the field holds something that does.
func (w *writer) header(size int64, sparse bool) {
	e := w.entry
	at := len(w.dst)
	w.dst = append(w.dst, zeros[:]...)
	h := w.dst[at : at+Block]
	w.headerName(h, sparse)
	octal(h[offMode:offMode+7], int64(e.Mode&0o7777))
	octal(h[offUID:offUID+7], within(int64(e.UID), max7))
	octal(h[offGID:offGID+7], within(int64(e.GID), max7))
	octal(h[offSize:offSize+11], within(size, max11))
	if !e.ModTime.IsZero() {
		octal(h[offMtime:offMtime+11], within(e.ModTime.Unix(), max11))
	} else {
		octal(h[offMtime:offMtime+11], 0)
	}
	h[offFlag] = typeFlags[e.Kind]
	if w.hasLink() && !inRecord(e.Link) && len(e.Link) <= nameField {
		copy(h[offLink:], e.Link)
	}
	copy(h[offMagic:], posixMagic)
	owner(h[offUser:offUser+ownerField], e.User)
	owner(h[offGroup:offGroup+ownerField], e.Group)
	if e.Kind == capstan.KindCharDevice || e.Kind == capstan.KindBlkDevice {
		device(h[offMajor:offMajor+8], e.Major)
		device(h[offMinor:offMinor+8], e.Minor)
	}
	seal(h)
}

// headerName writes the name, or a stand-in for readers that know no PAX.
func (w *writer) headerName(h []byte, sparse bool) {
	if sparse && utf8.ValidString(w.name) {
		_, base := capstan.SplitPath(w.name)
		standIn(h[:nameField], "GNUSparseFile.0/", base)
		return
	}
	prefix, name, fits := splitName(w.name, w.slash)
	if !fits || inRecord(w.name) {
		standIn(h[:nameField], "", w.name)
		return
	}
	copy(h[offPrefix:offPrefix+prefixField], prefix)
	copy(h[:nameField], name)
	if w.slash != "" && len(name) < nameField {
		h[len(name)] = '/'
	}
}

// standIn writes as much of a name as fits, with "_" for what is not ASCII.
func standIn(field []byte, before, name string) {
	n := copy(field, before)
	for i := 0; i < len(name) && n < len(field)-1; i++ {
		c := name[i]
		if c >= 0x80 {
			c = '_'
		}
		field[n] = c
		n++
	}
}

// splitName gives the prefix and name fields for a path. A directory's slash
// counts to the name, though it is not part of what is returned.
func splitName(path, slash string) (prefix, name string, fits bool) {
	if len(path)+len(slash) <= nameField {
		return "", path, true
	}
	if len(path) > prefixField+1+nameField {
		return "", "", false
	}
	// The last slash that leaves a prefix that fits; the name is then shortest.
	at := strings.LastIndexByte(path[:min(len(path), prefixField+1)], '/')
	if at <= 0 || len(path)-at-1+len(slash) > nameField || at == len(path)-1 {
		return "", "", false
	}
	return path[:at], path[at+1:], true
}

// owner writes the name of a user or group where it fits in the field.
func owner(field []byte, name string) {
	if len(name) < ownerField && cleanText(name) && (plain(name) || !utf8.ValidString(name)) {
		copy(field, name)
	}
}

// device writes a number in octal or, where that is too short, in the binary
// form that GNU tar and bsdtar read.
func device(field []byte, n uint32) {
	if n <= max7 {
		octal(field[:7], int64(n))
		return
	}
	field[0] = 0x80
	binary.BigEndian.PutUint32(field[4:], n)
}

// octal fills field with digits.
func octal(field []byte, n int64) {
	for i := len(field) - 1; i >= 0; i-- {
		field[i] = byte('0' + n&7)
		n >>= 3
	}
}

// within is n, or the nearer end of the range from 0 to most.
func within(n, most int64) int64 { return max(0, min(n, most)) }

// seal writes the checksum of a header.
func seal(h []byte) {
	copy(h[offSum:offSum+8], "        ")
	octal(h[offSum:offSum+6], 0)
	copy(h[offSum:offSum+6], "      ")
	sum := checksum(h)
	octal(h[offSum:offSum+6], int64(sum))
	h[offSum+6], h[offSum+7] = 0, ' '
}

// checksum adds the bytes of a block, eight at a time: the four sums of even
// and of odd bytes stay below 2^16.
func checksum(h []byte) uint32 {
	const odd = 0x00FF00FF00FF00FF
	var sum uint64
	for i := 0; i < Block; i += 8 {
		x := binary.LittleEndian.Uint64(h[i:])
		sum += x&odd + x>>8&odd
	}
	sum = sum&0x0000FFFF0000FFFF + sum>>16&0x0000FFFF0000FFFF
	return uint32(sum) + uint32(sum>>32)
}
