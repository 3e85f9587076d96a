package tarfile

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"capstan"
)

// Header is what stands before the content of one entry.
type Header struct {
	// Entry has the fields that an archive knows: Path (of a part, the part's
	// name), Kind, Mode, owner, ModTime, Size, Link, device, xattrs, ACLs, holes, and in
	// Location.Size the number of content bytes that follow.
	Entry capstan.Entry
	// Length is what all headers of the entry take, the map of a sparse file
	// included, in bytes; a multiple of Block.
	Length int64
}

// Parser reads headers from any stream of bytes. It keeps buffers from one
// header to the next and belongs to one goroutine; its zero value is ready.
type Parser struct {
	block  [Block]byte
	data   []byte
	r      io.Reader
	length int64
}

// Next reads the headers of one entry from r and leaves r at the first byte of
// its content. It returns io.EOF after the mark that ends an archive, an error
// that wraps capstan.ErrDamaged for everything that is not a header as
// AppendHeader writes it, also for a stream that ends, and else the error of r.
// It reads no byte more than the headers and takes memory only within
// MaxRecords and MaxExtents.
func (p *Parser) Next(r io.Reader) (*Header, error) {
	p.r, p.length = r, 0
	defer func() { p.r = nil }()
	x := extended{size: -1, uid: -1, gid: -1, realSize: -1}
	for {
		if err := p.readBlock(); err != nil {
			return nil, err
		}
		if p.block == zeros {
			return nil, p.end()
		}
		if err := p.checkSum(); err != nil {
			return nil, err
		}
		flag := p.block[offFlag]
		if flag != 'x' && flag != 'L' && flag != 'K' {
			return p.entry(&x)
		}
		if err := p.extension(&x, flag); err != nil {
			return nil, err
		}
	}
}

func damaged(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, capstan.ErrDamaged)...)
}

func (p *Parser) readFull(b []byte) error {
	n, err := io.ReadFull(p.r, b)
	p.length += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("the archive ends within a header")
	}
	return err
}

func (p *Parser) readBlock() error { return p.readFull(p.block[:]) }

// end checks the second block of the mark that ends an archive.
func (p *Parser) end() error {
	if p.length != Block {
		return damaged("an extended header stands before the end of the archive")
	}
	if err := p.readBlock(); err != nil {
		return err
	}
	if p.block != zeros {
		return damaged("one block of zeros instead of two")
	}
	return io.EOF
}

func (p *Parser) checkSum() error {
	want, ok := parseNumber(p.block[offSum : offSum+8])
	// The field counts as eight spaces.
	sum := int64(checksum(p.block[:])) + 8*' '
	for _, c := range p.block[offSum : offSum+8] {
		sum -= int64(c)
	}
	if !ok || want != sum {
		return damaged("a header's checksum does not match")
	}
	if magic := string(p.block[offMagic : offMagic+8]); magic != posixMagic && magic != gnuMagic {
		return damaged("a header of an unknown format")
	}
	return nil
}

// IsHeader reports whether a block looks like a header, extended or not: format
// and checksum are right. Whoever has lost the way in a tar stream finds it so.
func IsHeader(block []byte) bool {
	var p Parser
	return copy(p.block[:], block) == Block && p.checkSum() == nil
}

// MagicOffset is where Magic stands in a header.
const MagicOffset = offMagic

// Magic is what all headers have in common.
const Magic = "ustar"

// extension reads an extended header or a long name.
func (p *Parser) extension(x *extended, flag byte) error {
	if strings.IndexByte(x.seen, flag) >= 0 {
		return damaged("two extended headers of type %q in a row", flag)
	}
	x.seen += string(flag)
	size, ok := parseNumber(p.block[offSize : offSize+12])
	if !ok || size < 1 || size > MaxRecords {
		return damaged("an extended header of %d bytes", size)
	}
	total := int(size + Padding(size))
	if cap(p.data) < total {
		p.data = make([]byte, total)
	}
	p.data = p.data[:total]
	if err := p.readFull(p.data); err != nil {
		return err
	}
	data := p.data[:size]
	switch flag {
	case 'L':
		x.path = strings.TrimRight(string(data), "\x00")
	case 'K':
		x.link = strings.TrimRight(string(data), "\x00")
	default:
		return x.parse(data)
	}
	return nil
}

// entry reads the ustar header in p.block, and the map of a sparse file.
func (p *Parser) entry(x *extended) (*Header, error) {
	h := &Header{}
	e := &h.Entry
	b := &p.block
	if b[offFlag] == 0 {
		b[offFlag] = '0'
	}
	for kind, flag := range typeFlags {
		if flag == b[offFlag] && flag != 0 {
			e.Kind = capstan.EntryKind(kind)
		}
	}
	if e.Kind == 0 {
		return nil, damaged("a header of the unknown type %q", b[offFlag])
	}
	if err := x.numbers(e, b); err != nil {
		return nil, err
	}
	e.User, e.Group = text(b[offUser:offUser+ownerField]), text(b[offGroup:offGroup+ownerField])
	e.Link = text(b[offLink : offLink+nameField])
	e.Path = text(b[:nameField])
	if prefix := text(b[offPrefix : offPrefix+prefixField]); prefix != "" && string(b[offMagic:offMagic+8]) == posixMagic {
		e.Path = prefix + "/" + e.Path
	}
	x.apply(e)
	if e.Kind == capstan.KindDir {
		e.Path = strings.TrimSuffix(e.Path, "/")
	}
	if !x.sparse() && (x.major != "" || x.minor != "" || x.sparseName != "" || x.realSize >= 0) {
		return nil, damaged("a sparse file of the unknown form %q.%q", x.major, x.minor)
	}
	if x.sparse() {
		if err := p.readMap(e, x.realSize); err != nil {
			return nil, err
		}
	}
	if err := checkEntry(e); err != nil {
		return nil, err
	}
	h.Length = p.length
	return h, nil
}

// checkEntry checks what AppendHeader never writes.
func checkEntry(e *capstan.Entry) error {
	if err := checkPath(e.Path); err != nil {
		return damaged("%v", err)
	}
	switch e.Kind {
	case capstan.KindSymlink, capstan.KindHardlink:
		if err := checkLink(e); err != nil {
			return damaged("%v", err)
		}
	default:
		e.Link = ""
	}
	if e.Kind != capstan.KindFile && e.Location.Size != 0 {
		return damaged("a %s with %d bytes of content", e.Kind, e.Location.Size)
	}
	return nil
}

// numbers takes the numeric fields, from the records where these have them.
func (x *extended) numbers(e *capstan.Entry, b *[Block]byte) error {
	var failed bool
	field := func(off, width int, instead int64) int64 {
		if instead >= 0 {
			return instead
		}
		n, ok := parseNumber(b[off : off+width])
		failed = failed || !ok || n < 0
		return n
	}
	e.Mode = uint32(field(offMode, 8, -1)) & 0o7777
	uid, gid := field(offUID, 8, x.uid), field(offGID, 8, x.gid)
	size := field(offSize, 12, x.size)
	e.ModTime = x.mtime
	if !x.hasMtime {
		e.ModTime = time.Unix(field(offMtime, 12, -1), 0).UTC()
	}
	if e.Kind == capstan.KindCharDevice || e.Kind == capstan.KindBlkDevice {
		major, minor := field(offMajor, 8, -1), field(offMinor, 8, -1)
		failed = failed || major > maxID || minor > maxID
		e.Major, e.Minor = uint32(major), uint32(minor)
	}
	if failed || uid > maxID || gid > maxID || size > maxContent {
		return damaged("a header with a number that makes no sense")
	}
	e.UID, e.GID = uint32(uid), uint32(gid)
	e.Size, e.Location.Size = size, size
	return nil
}

// Highest numbers that a header may hold.
const (
	maxID      = 1<<32 - 1
	maxContent = 1 << 60
)

// parseNumber reads a numeric field: octal digits between spaces and zero
// bytes, or a binary number where the first bit is set.
func parseNumber(field []byte) (int64, bool) {
	if field[0]&0x80 != 0 {
		var n int64
		for i, c := range field {
			if i == 0 {
				c &= 0x7F
			}
			if n >= 1<<54 {
				return 0, false
			}
			n = n<<8 | int64(c)
		}
		return n, true
	}
	digits := strings.Trim(string(field), " \x00")
	var n int64
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '7' || n >= 1<<60 {
			return 0, false
		}
		n = n<<3 | int64(c-'0')
	}
	return n, true
}

// text is a field up to its first zero byte.
func text(field []byte) string {
	for i, c := range field {
		if c == 0 {
			return string(field[:i])
		}
	}
	return string(field)
}
