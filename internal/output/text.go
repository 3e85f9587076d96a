package output

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text harmless for a terminal and keeps it on one line: control
// characters, line and direction marks and bytes that are no UTF-8 are shown as Go
// escapes ("\x1b", "\n"). A file's name could else move the cursor, forge a message
// or set the window's title.
func Clean(s string) string {
	ok := func(r rune) bool { return r == ' ' || (unicode.IsPrint(r) && r != utf8.RuneError) }
	if strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if ok(r) {
			b.WriteString(s[:size])
		} else {
			quoted := strconv.Quote(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// columns is a safe upper bound of a character's columns on a terminal: what lies
// beyond the Latin, Greek, Cyrillic and Semitic scripts counts as wide.
func columns(r rune) int {
	if r >= 0x1100 {
		return 2
	}
	return 1
}

// width is the number of columns of a line, at most; colour sequences have none.
func width(line string) int {
	n, escape := 0, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n += columns(r)
		}
	}
	return n
}

const ellipsis = "..."

// cut keeps the begin of a text without colours that is wider than limit columns.
func cut(s string, limit int) string {
	if width(s) <= limit {
		return s
	}
	room := limit - len(ellipsis)
	if room < 0 {
		return ellipsis[:max(limit, 0)]
	}
	for i, r := range s {
		if room -= columns(r); room < 0 {
			return s[:i] + ellipsis
		}
	}
	return s
}

// cutFront keeps the end: of a path that is the telling part.
func cutFront(s string, limit int) string {
	if width(s) <= limit {
		return s
	}
	room := limit - len(ellipsis)
	if room < 0 {
		return ellipsis[:max(limit, 0)]
	}
	end := len(s)
	for end > 0 {
		r, size := utf8.DecodeLastRuneInString(s[:end])
		if room -= columns(r); room < 0 {
			break
		}
		end -= size
	}
	return ellipsis + s[end:]
}
