package manifest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"capstan"
)

// appendEntry appends the line of an entry. It is written by hand since a set
// may have ten million: reflection would cost more than the compression.
func appendEntry(b []byte, e *capstan.Entry) ([]byte, error) {
	kind, outcome := e.Kind.String(), e.Outcome.String()
	if capstan.ParseEntryKind(kind) == 0 || capstan.ParseOutcome(outcome) == 0 {
		return b, fmt.Errorf("entry %q has no kind (%d) or no outcome (%d)", e.Path, e.Kind, e.Outcome)
	}
	if err := checkPath(e.Path); err != nil {
		return b, err
	}
	b = append(b, `{"type":"entry","path":`...)
	b = appendText(b, "path", e.Path)
	b = append(b, `,"kind":"`...)
	b = append(b, kind...)
	b = append(b, `","outcome":"`...)
	b = append(b, outcome...)
	b = append(b, '"')
	b = appendTextField(b, "reason", e.Reason)
	b = appendMode(b, e.Mode)
	b = appendNumber(b, "uid", uint64(e.UID))
	b = appendNumber(b, "gid", uint64(e.GID))
	b = appendTextField(b, "user", e.User)
	b = appendTextField(b, "group", e.Group)
	b = appendTime(b, "mtime", e.ModTime)
	b = appendTime(b, "ctime", e.ChangeTime)
	b = appendNumber(b, "dev", e.Dev)
	b = appendNumber(b, "ino", e.Ino)
	b = appendNumber(b, "links", uint64(e.Links))
	b = appendTextField(b, "link", e.Link)
	b = appendNumber(b, "major", uint64(e.Major))
	b = appendNumber(b, "minor", uint64(e.Minor))
	b = appendXattrs(b, e.Xattrs)
	b = appendTextField(b, "acl", e.ACL)
	b = appendTextField(b, "default_acl", e.DefaultACL)
	b = appendContent(b, e)
	return append(b, '}', '\n'), nil
}

// appendContent appends what is known of the content and where it lies.
func appendContent(b []byte, e *capstan.Entry) []byte {
	if e.Size != 0 {
		b = append(b, `,"size":`...)
		b = strconv.AppendInt(b, e.Size, 10)
	}
	if e.Sparse {
		b = append(b, `,"data":[`...)
		for i, x := range e.Data {
			b = appendComma(b, i)
			b = append(b, '[')
			b = strconv.AppendInt(b, x.Offset, 10)
			b = append(b, ',')
			b = strconv.AppendInt(b, x.Length, 10)
			b = append(b, ']')
		}
		b = append(b, ']')
	}
	if !e.Hash.IsZero() {
		b = append(b, `,"sha256":"`...)
		b = hex.AppendEncode(b, e.Hash[:])
		b = append(b, '"')
	}
	if e.Archive != 0 {
		b = append(b, ',')
		b = appendLocation(b, e.Location)
	}
	if len(e.Parts) > 0 {
		b = append(b, `,"parts":[`...)
		for i, part := range e.Parts {
			b = appendComma(b, i)
			b = append(b, '{')
			b = appendLocation(b, part.Location)
			b = append(b, `,"start":`...)
			b = strconv.AppendInt(b, part.Start, 10)
			b = append(b, `,"length":`...)
			b = strconv.AppendInt(b, part.Length, 10)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	return b
}

func appendLocation(b []byte, l capstan.Location) []byte {
	b = append(b, `"archive":`...)
	b = strconv.AppendInt(b, int64(l.Archive), 10)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, l.Offset, 10)
	b = append(b, `,"stored":`...)
	return strconv.AppendInt(b, l.Size, 10)
}

func appendXattrs(b []byte, xattrs []capstan.Xattr) []byte {
	if len(xattrs) == 0 {
		return b
	}
	b = append(b, `,"xattrs":[`...)
	for i, x := range xattrs {
		b = appendComma(b, i)
		b = append(b, `{"name":`...)
		b = appendText(b, "name", x.Name)
		b = append(b, `,"value":"`...)
		b = base64.StdEncoding.AppendEncode(b, x.Value)
		b = append(b, '"', '}')
	}
	return append(b, ']')
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendKey(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

func appendNumber(b []byte, key string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(appendKey(b, key), n, 10)
}

// appendMode appends four octal digits.
func appendMode(b []byte, mode uint32) []byte {
	b = append(b, `,"mode":"`...)
	for shift := 9; shift >= 0; shift -= 3 {
		b = append(b, byte('0'+mode>>shift&7))
	}
	return append(b, '"')
}

// appendTime appends seconds since 1970 as an exact decimal number in a string:
// every time a filesystem can hold, no year too far, no digit lost.
func appendTime(b []byte, key string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(appendKey(b, key), '"')
	b = appendSeconds(b, t)
	return append(b, '"')
}

func appendSeconds(b []byte, t time.Time) []byte {
	seconds, nanos := t.Unix(), t.Nanosecond()
	if seconds < 0 {
		b = append(b, '-')
		if nanos > 0 { // t counts nanoseconds forward from the second below
			seconds, nanos = seconds+1, 1e9-nanos
		}
		b = strconv.AppendUint(b, -uint64(seconds), 10)
	} else {
		b = strconv.AppendInt(b, seconds, 10)
	}
	if nanos == 0 {
		return b
	}
	b = append(b, '.')
	for unit := int(1e8); nanos > 0; unit /= 10 {
		b = append(b, byte('0'+nanos/unit))
		nanos %= unit
	}
	return b
}

// appendTextField appends a text that may be left out when it is empty.
func appendTextField(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendText(appendKey(b, key), key, s)
}

// appendText appends s as a JSON string. When s is not valid UTF-8, its exact
// bytes follow as KEY_b64.
func appendText(b []byte, key, s string) []byte {
	b, exact := appendString(b, s)
	if exact {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, `_b64":"`...)
	b = base64.StdEncoding.AppendEncode(b, []byte(s))
	return append(b, '"')
}

// appendString appends s as a JSON string, with U+FFFD for every byte that is
// no valid UTF-8. It reports whether there was none.
func appendString(b []byte, s string) ([]byte, bool) {
	const digits = "0123456789abcdef"
	exact := true
	b = append(b, '"')
	start := 0 // of the bytes not yet appended
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size != 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, `\ufffd`...)
			exact = false
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"'), exact
}
