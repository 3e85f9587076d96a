package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"capstan"
)

// decoder reads the lines of entries.
type decoder struct {
	user, group string // of the last entry: most have the same, and share the memory
}

// exactText is a text whose exact bytes stood in a field of their own.
type exactText struct {
	field *string
	bytes []byte
}

// maxExact is above the number of texts that an entry can have.
const maxExact = 16

// entry reads one line. What it gives shares no memory with the line.
func (d *decoder) entry(line []byte) (capstan.Entry, error) {
	var e capstan.Entry
	if !utf8.Valid(line) {
		return e, errNotUTF8
	}
	s := &scanner{line: line}
	var exact []exactText
	s.expect('{')
	for i := 0; s.next('}', i); i++ {
		if err := d.field(s, s.key(), &e, &exact); err != nil {
			return e, fmt.Errorf("entry %q: %w", e.Path, err)
		}
	}
	s.end()
	if s.err != nil {
		return e, s.err
	}
	for _, x := range exact {
		if x.bytes != nil {
			*x.field = string(x.bytes)
		}
	}
	if err := checkPath(e.Path); err != nil {
		return e, err
	}
	if err := checkEntry(&e); err != nil {
		return e, fmt.Errorf("entry %q: %w", e.Path, err)
	}
	return e, nil
}

// field reads the value of one field; null is as if it were absent.
func (d *decoder) field(s *scanner, key []byte, e *capstan.Entry, exact *[]exactText) (err error) {
	if s.null() {
		return s.err
	}
	also := func(field *string) {
		if len(*exact) == maxExact {
			s.fail("a field that repeats")
			return
		}
		*exact = append(*exact, exactText{field, s.base64()})
	}
	switch string(key) {
	case "path":
		e.Path = s.text()
	case "path_b64":
		also(&e.Path)
	case "kind":
		e.Kind = capstan.ParseEntryKind(string(s.bytes()))
	case "outcome":
		e.Outcome = capstan.ParseOutcome(string(s.bytes()))
	case "reason":
		e.Reason = s.text()
	case "reason_b64":
		also(&e.Reason)
	case "mode":
		e.Mode, err = parseMode(s.bytes())
	case "uid":
		e.UID = uint32(s.unsigned(math.MaxUint32))
	case "gid":
		e.GID = uint32(s.unsigned(math.MaxUint32))
	case "user":
		e.User = s.shared(&d.user)
	case "user_b64":
		also(&e.User)
	case "group":
		e.Group = s.shared(&d.group)
	case "group_b64":
		also(&e.Group)
	case "mtime":
		e.ModTime, err = parseSeconds(s.bytes())
	case "ctime":
		e.ChangeTime, err = parseSeconds(s.bytes())
	case "dev":
		e.Dev = s.unsigned(math.MaxUint64)
	case "ino":
		e.Ino = s.unsigned(math.MaxUint64)
	case "links":
		e.Links = uint32(s.unsigned(math.MaxUint32))
	case "link":
		e.Link = s.text()
	case "link_b64":
		also(&e.Link)
	case "major":
		e.Major = uint32(s.unsigned(math.MaxUint32))
	case "minor":
		e.Minor = uint32(s.unsigned(math.MaxUint32))
	case "xattrs":
		e.Xattrs = s.xattrs()
	case "acl":
		e.ACL = s.text()
	case "acl_b64":
		also(&e.ACL)
	case "default_acl":
		e.DefaultACL = s.text()
	case "default_acl_b64":
		also(&e.DefaultACL)
	case "sha256":
		e.Hash, err = parseHash(s.bytes())
	case "size":
		e.Size = s.size()
	case "data":
		e.Data, e.Sparse = s.extents(), true
	case "parts":
		e.Parts = s.parts()
	default:
		if !s.location(key, &e.Location) {
			s.skip(0)
		}
	}
	if s.err != nil {
		return s.err
	}
	return err
}

// shared takes a text that is likely the one that was last taken.
func (s *scanner) shared(last *string) string {
	if b := s.bytes(); string(b) != *last {
		*last = string(b)
	}
	return *last
}

// location takes the value of a field if it is one of a location's.
func (s *scanner) location(key []byte, l *capstan.Location) bool {
	switch string(key) {
	case "archive":
		l.Archive = capstan.ArchiveNumber(s.unsigned(math.MaxInt32))
	case "offset":
		l.Offset = s.size()
	case "stored":
		l.Size = s.size()
	default:
		return false
	}
	return true
}

func (s *scanner) xattrs() (xattrs []capstan.Xattr) {
	s.expect('[')
	for i := 0; s.next(']', i); i++ {
		s.limit(i, maxXattrs)
		var x capstan.Xattr
		var name []byte
		s.expect('{')
		for i := 0; s.next('}', i); i++ {
			switch string(s.key()) {
			case "name":
				x.Name = s.text()
			case "name_b64":
				name = s.base64()
			case "value":
				x.Value = s.base64()
			default:
				s.skip(0)
			}
		}
		if name != nil {
			x.Name = string(name)
		}
		xattrs = append(xattrs, x)
	}
	return xattrs
}

// extents takes the data ranges of a sparse file.
func (s *scanner) extents() (extents []capstan.Extent) {
	s.expect('[')
	for i := 0; s.next(']', i); i++ {
		s.limit(i, maxExtents)
		var x capstan.Extent
		s.expect('[')
		x.Offset = s.size()
		s.expect(',')
		x.Length = s.size()
		s.expect(']')
		extents = append(extents, x)
	}
	return extents
}

func (s *scanner) parts() (parts []capstan.Part) {
	s.expect('[')
	for i := 0; s.next(']', i); i++ {
		s.limit(i, maxParts)
		var p capstan.Part
		s.expect('{')
		for i := 0; s.next('}', i); i++ {
			switch key := s.key(); string(key) {
			case "start":
				p.Start = s.size()
			case "length":
				p.Length = s.size()
			default:
				if !s.location(key, &p.Location) {
					s.skip(0)
				}
			}
		}
		parts = append(parts, p)
	}
	return parts
}

// checkEntry refuses what no writer of ours can have meant, so that whoever
// restores need not check again.
func checkEntry(e *capstan.Entry) error {
	if e.Kind == 0 || e.Outcome == 0 {
		return errors.New("its kind or outcome is missing or unknown")
	}
	if e.Offset > math.MaxInt64-e.Location.Size {
		return errors.New("its place in the archive cannot be")
	}
	for _, p := range e.Parts {
		if p.Archive == 0 || p.Offset > math.MaxInt64-p.Size || p.Start > math.MaxInt64-p.Length {
			return errors.New("one of its parts is nowhere")
		}
	}
	end := int64(-1)
	for _, x := range e.Data {
		if x.Offset <= end || x.Length == 0 || x.Length > e.Size || x.Offset > e.Size-x.Length {
			return fmt.Errorf("its data range at %d is out of order or outside its %d bytes", x.Offset, e.Size)
		}
		end = x.Offset + x.Length
	}
	return nil
}

// parseMode reads octal digits up to 7777.
func parseMode(text []byte) (uint32, error) {
	mode, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || mode > 0o7777 {
		return 0, fmt.Errorf("mode %q is not octal within 7777", text)
	}
	return uint32(mode), nil
}

// parseSeconds reads what appendSeconds writes.
func parseSeconds(text []byte) (time.Time, error) {
	bad := func() (time.Time, error) {
		return time.Time{}, fmt.Errorf("time %q is not seconds since 1970 with at most nine decimals", text)
	}
	whole, fraction, dot := bytes.Cut(text, []byte("."))
	if dot == (len(fraction) == 0) || len(fraction) > 9 || bytes.HasPrefix(whole, []byte("+")) {
		return bad()
	}
	seconds, err := strconv.ParseInt(string(whole), 10, 64)
	if err != nil {
		return bad()
	}
	var nanos int64
	for i := range 9 {
		digit := byte('0')
		if i < len(fraction) {
			digit = fraction[i]
		}
		if digit < '0' || digit > '9' {
			return bad()
		}
		nanos = nanos*10 + int64(digit-'0')
	}
	if nanos > 0 && whole[0] == '-' {
		if seconds == math.MinInt64 {
			return bad()
		}
		seconds, nanos = seconds-1, 1e9-nanos
	}
	return time.Unix(seconds, nanos).UTC(), nil
}

// parseHash reads 64 hexadecimal digits.
func parseHash(text []byte) (capstan.Hash, error) {
	var hash capstan.Hash
	if len(text) != hex.EncodedLen(len(hash)) {
		return hash, errors.New("a SHA-256 has 64 digits")
	}
	if _, err := hex.Decode(hash[:], text); err != nil {
		return hash, fmt.Errorf("SHA-256: %w", err)
	}
	return hash, nil
}
