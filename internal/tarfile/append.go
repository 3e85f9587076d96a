package tarfile

import (
	"strconv"
	"time"
	"unicode/utf8"

	"capstan"
)

// What a field of the ustar header can hold.
const (
	nameField   = 100
	prefixField = 155
	ownerField  = 32
	max7        = 1<<21 - 1 // seven octal digits
	max11       = 1<<33 - 1 // eleven
)

// AppendHeader appends everything that stands before the content of e to dst:
// a PAX extended header if one is needed, the ustar header, and for a sparse
// file the map of its data ranges. name is the path in the archive, e.Path
// unless e is a part; storedSize is the number of content bytes that will
// follow, 0 for all but files. The sizes of a sparse file come from e.Size and
// e.Data, whose ranges must add up to storedSize and, but for the last, be
// multiples of Block long.
//
// An error wraps ErrUnstorable; dst is then returned as it came.
func AppendHeader(dst []byte, e *capstan.Entry, name string, storedSize int64) ([]byte, error) {
	w := writer{dst: dst, start: len(dst), entry: e, name: name}
	if err := w.check(storedSize); err != nil {
		return dst, err
	}
	if e.Kind == capstan.KindDir {
		w.slash = "/"
	}
	sparse := e.Sparse && e.Kind == capstan.KindFile
	size := storedSize
	if sparse {
		size += mapSize(e)
	}
	w.longNames()
	w.records(size, sparse)
	if err := w.endRecords(); err != nil {
		return dst[:w.start], err
	}
	w.header(size, sparse)
	if sparse {
		w.dst = appendMap(w.dst, e)
	}
	return w.dst, nil
}

// writer appends one header.
type writer struct {
	dst   []byte
	start int // of everything
	pax   int // of the extended header, while it is written
	entry *capstan.Entry
	name  string
	slash string // after the name of a directory
}

func (w *writer) check(storedSize int64) error {
	e := w.entry
	if int(e.Kind) >= len(typeFlags) || typeFlags[e.Kind] == 0 {
		return unstorable("tar knows no %s", e.Kind)
	}
	if storedSize < 0 || e.Size < 0 || (storedSize > 0 && e.Kind != capstan.KindFile) {
		return unstorable("a %s with %d bytes of content", e.Kind, storedSize)
	}
	if err := checkPath(w.name); err != nil {
		return err
	}
	if e.Kind == capstan.KindSymlink || e.Kind == capstan.KindHardlink {
		if err := checkLink(e); err != nil {
			return err
		}
	}
	if !e.Sparse || e.Kind != capstan.KindFile {
		return nil
	}
	if len(e.Data) > MaxExtents {
		return unstorable("a sparse file with %d data ranges, more than %d", len(e.Data), MaxExtents)
	}
	return checkExtents(e.Data, e.Size, storedSize)
}

func checkLink(e *capstan.Entry) error {
	if e.Kind == capstan.KindHardlink {
		return checkPath(e.Link)
	}
	if e.Link == "" {
		return unstorable("a symlink without a target")
	}
	for i := range len(e.Link) {
		if e.Link[i] == 0 {
			return unstorable("the target of the symlink has a zero byte")
		}
	}
	return nil
}

// longNames writes GNU long name records for long names that are not UTF-8.
func (w *writer) longNames() {
	if link := w.entry.Link; w.hasLink() && len(link) > nameField && !utf8.ValidString(link) {
		w.longName('K', link)
	}
	if !utf8.ValidString(w.name) {
		if _, _, fits := splitName(w.name, w.slash); !fits {
			w.longName('L', w.name+w.slash)
		}
	}
}

func (w *writer) longName(flag byte, name string) {
	at := len(w.dst)
	w.dst = append(w.dst, longTemplate[:]...)
	w.dst[at+offFlag] = flag
	octal(w.dst[at+offSize:at+offSize+11], int64(len(name))+1)
	seal(w.dst[at : at+Block])
	w.dst = append(w.dst, name...)
	w.dst = append(w.dst, 0)
	w.pad(at)
}

// records writes the PAX extended header; endRecords completes it.
func (w *writer) records(size int64, sparse bool) {
	e := w.entry
	w.pax = len(w.dst)
	w.dst = append(w.dst, paxTemplate[:]...)
	if _, _, fits := splitName(w.name, w.slash); !sparse && (inRecord(w.name) || !fits && utf8.ValidString(w.name)) {
		w.record("path", w.name, w.slash)
	}
	if w.hasLink() && (inRecord(e.Link) || len(e.Link) > nameField && utf8.ValidString(e.Link)) {
		w.record("linkpath", e.Link, "")
	}
	if size > max11 {
		w.number("size", size)
	}
	if e.UID > max7 {
		w.number("uid", int64(e.UID))
	}
	if e.GID > max7 {
		w.number("gid", int64(e.GID))
	}
	if longOwner(e.User) {
		w.record("uname", e.User, "")
	}
	if longOwner(e.Group) {
		w.record("gname", e.Group, "")
	}
	if sec := e.ModTime.Unix(); !e.ModTime.IsZero() && (e.ModTime.Nanosecond() != 0 || sec < 0 || sec > max11) {
		w.time("mtime", e.ModTime)
	}
	if sparse {
		w.record("GNU.sparse.major", "1", "")
		w.record("GNU.sparse.minor", "0", "")
		if utf8.ValidString(w.name) {
			w.record("GNU.sparse.name", w.name, "")
		}
		w.number("GNU.sparse.realsize", e.Size)
	}
	if e.ACL != "" {
		w.record("SCHILY.acl.access", e.ACL, "")
	}
	if e.DefaultACL != "" {
		w.record("SCHILY.acl.default", e.DefaultACL, "")
	}
	for i := range e.Xattrs {
		w.xattr(&e.Xattrs[i])
	}
}

// endRecords fills in the size of the extended header, or takes it back when
// it is empty.
func (w *writer) endRecords() error {
	size := len(w.dst) - w.pax - Block
	if size == 0 {
		w.dst = w.dst[:w.pax]
		return nil
	}
	if size > MaxRecords {
		return unstorable("%d bytes of extended attributes, more than %d", size, MaxRecords)
	}
	for _, x := range w.entry.Xattrs {
		if x.Name == "" || !cleanText(x.Name) {
			return unstorable("an extended attribute with the name %q", x.Name)
		}
	}
	if !cleanText(w.entry.ACL) || !cleanText(w.entry.DefaultACL) {
		return unstorable("an ACL with a zero byte")
	}
	header := w.dst[w.pax : w.pax+Block]
	octal(header[offSize:offSize+11], int64(size))
	seal(header)
	w.pad(w.pax)
	return nil
}

// pad appends zeros until what was written since start fills its last block.
func (w *writer) pad(start int) {
	n := Padding(int64(len(w.dst) - start))
	w.dst = append(w.dst, zeros[:n]...)
}

func (w *writer) hasLink() bool {
	return w.entry.Kind == capstan.KindSymlink || w.entry.Kind == capstan.KindHardlink
}

// record appends "LENGTH key=value\n", where LENGTH counts the whole record.
func (w *writer) record(key, value, suffix string) {
	w.recordLength(len(key) + len(value) + len(suffix))
	w.dst = append(w.dst, key...)
	w.dst = append(w.dst, '=')
	w.dst = append(w.dst, value...)
	w.dst = append(w.dst, suffix...)
	w.dst = append(w.dst, '\n')
}

// recordLength appends the length of a record whose key and value have n bytes.
func (w *writer) recordLength(n int) {
	n += len(" =\n")
	digits := decimalDigits(n)
	if decimalDigits(n+digits) > digits {
		digits++
	}
	w.dst = strconv.AppendInt(w.dst, int64(n+digits), 10)
	w.dst = append(w.dst, ' ')
}

func (w *writer) number(key string, n int64) {
	var b [20]byte
	w.bytes(key, strconv.AppendInt(b[:0], n, 10))
}

func (w *writer) bytes(key string, value []byte) {
	w.recordLength(len(key) + len(value))
	w.dst = append(w.dst, key...)
	w.dst = append(w.dst, '=')
	w.dst = append(w.dst, value...)
	w.dst = append(w.dst, '\n')
}

// time appends seconds with as many decimals as it takes. A time before 1970 is
// a negative decimal number: half a second before is "-0.5".
func (w *writer) time(key string, t time.Time) {
	var b [32]byte
	w.bytes(key, appendTime(b[:0], t))
}

func (w *writer) xattr(x *capstan.Xattr) {
	name := escapeXattr(x.Name)
	w.recordLength(len(xattrKey) + len(name) + len(x.Value))
	w.dst = append(w.dst, xattrKey...)
	w.dst = append(w.dst, name...)
	w.dst = append(w.dst, '=')
	w.dst = append(w.dst, x.Value...)
	w.dst = append(w.dst, '\n')
}
