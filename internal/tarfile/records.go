package tarfile

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"capstan"
)

// extended is what the extended headers before an entry say. Numbers that are
// not there are -1.
type extended struct {
	seen         string // type flags
	path, link   string
	user, group  string
	size         int64
	uid, gid     int64
	mtime        time.Time
	hasMtime     bool
	major, minor string // of the sparse format
	sparseName   string
	realSize     int64
	acl, defACL  string
	xattrs       []capstan.Xattr
}

func (x *extended) sparse() bool { return x.major == "1" && x.minor == "0" }

// parse reads the records of a PAX extended header.
func (x *extended) parse(data []byte) error {
	for len(data) > 0 {
		space := bytes.IndexByte(data[:min(len(data), 10)], ' ')
		if space < 1 {
			return damaged("a record without its length in an extended header")
		}
		n, err := strconv.ParseUint(string(data[:space]), 10, 31)
		if err != nil || int(n) < space+3 || int(n) > len(data) || data[n-1] != '\n' {
			return damaged("a record of a wrong length in an extended header")
		}
		key, value, found := bytes.Cut(data[space+1:n-1], []byte("="))
		if !found || len(key) == 0 {
			return damaged("a record without a name in an extended header")
		}
		if err := x.set(string(key), value); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// set takes one record. Records that it does not know are passed over.
func (x *extended) set(key string, value []byte) error {
	if name, found := strings.CutPrefix(key, xattrKey); found {
		x.xattrs = append(x.xattrs, capstan.Xattr{Name: unescapeXattr(name), Value: bytes.Clone(value)})
		return nil
	}
	ok := true
	switch key {
	case "path":
		x.path = string(value)
	case "linkpath":
		x.link = string(value)
	case "uname":
		x.user = string(value)
	case "gname":
		x.group = string(value)
	case "size":
		x.size, ok = decimal(value)
	case "uid":
		x.uid, ok = decimal(value)
	case "gid":
		x.gid, ok = decimal(value)
	case "mtime":
		x.mtime, ok = parseTime(string(value))
		x.mtime, x.hasMtime = x.mtime.UTC(), true
	case "GNU.sparse.major":
		x.major = string(value)
	case "GNU.sparse.minor":
		x.minor = string(value)
	case "GNU.sparse.name":
		x.sparseName = string(value)
	case "GNU.sparse.realsize":
		x.realSize, ok = decimal(value)
	case "SCHILY.acl.access":
		x.acl = string(value)
	case "SCHILY.acl.default":
		x.defACL = string(value)
	default:
		// Older forms of sparse files: what follows is not the file as it was.
		ok = !strings.HasPrefix(key, "GNU.sparse.")
	}
	if !ok {
		return damaged("the record %s=%q in an extended header", key, value)
	}
	return nil
}

// apply puts the texts of the records in the place of the header's.
func (x *extended) apply(e *capstan.Entry) {
	for _, pair := range []struct {
		to   *string
		from string
	}{{&e.Path, x.path}, {&e.Link, x.link}, {&e.User, x.user}, {&e.Group, x.group}} {
		if pair.from != "" {
			*pair.to = pair.from
		}
	}
	if x.sparse() && x.sparseName != "" {
		e.Path = x.sparseName
	}
	e.Xattrs, e.ACL, e.DefaultACL = x.xattrs, x.acl, x.defACL
}

func decimal(b []byte) (int64, bool) {
	n, err := strconv.ParseUint(string(b), 10, 60)
	return int64(n), err == nil
}

// readMap reads the map of a sparse file and turns the size of what the archive
// holds into that of the file.
func (p *Parser) readMap(e *capstan.Entry, realSize int64) error {
	stored := e.Location.Size
	lines := mapReader{parser: p, left: &stored}
	count, err := lines.next()
	if err != nil {
		return err
	}
	if count > MaxExtents+1 || e.Kind != capstan.KindFile || realSize < 0 {
		return damaged("a sparse file with %d data ranges", count)
	}
	for range count {
		var x capstan.Extent
		if x.Offset, err = lines.next(); err != nil {
			return err
		}
		if x.Length, err = lines.next(); err != nil {
			return err
		}
		if x.Length > 0 {
			e.Data = append(e.Data, x)
		}
	}
	if err := checkExtents(e.Data, realSize, stored); err != nil {
		return damaged("%v", err)
	}
	e.Sparse, e.Size, e.Location.Size = true, realSize, stored
	return nil
}

// mapReader reads the numbers of a map, a block at a time.
type mapReader struct {
	parser *Parser
	left   *int64 // of the content, map included
	rest   []byte
}

func (m *mapReader) next() (int64, error) {
	var n int64
	for digits := 0; ; digits++ {
		if len(m.rest) == 0 {
			if *m.left < Block {
				return 0, damaged("the map of a sparse file is cut off")
			}
			if err := m.parser.readBlock(); err != nil {
				return 0, err
			}
			*m.left -= Block
			m.rest = m.parser.block[:]
		}
		c := m.rest[0]
		m.rest = m.rest[1:]
		switch {
		case c == '\n' && digits > 0:
			return n, nil
		case c < '0' || c > '9' || digits > 18:
			return 0, damaged("the map of a sparse file has a byte %#02x", c)
		}
		n = n*10 + int64(c-'0')
	}
}
