package catalog

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"capstan"
)

// glob is a pattern of names: * stands for any characters, ? for one, [a-z] and
// [!a-z] for one of a class, \ takes the meaning off the next. In a pattern with
// a slash each component is matched against one of the path, and ** against any
// number of them. A character is a UTF-8 one, or a byte that belongs to none.
type glob struct {
	parts []string // one: matched against names alone
	whole bool     // matched against whole paths
}

var errPattern = errors.New("a [ without ], or a \\ at the end")

func parseGlob(pattern string) (*glob, error) {
	trimmed := strings.Trim(pattern, "/")
	g := &glob{parts: strings.Split(trimmed, "/"), whole: strings.Contains(trimmed, "/") || trimmed == "**"}
	bad := error(nil)
	if trimmed == "" {
		bad = errors.New("it is empty")
	}
	for _, part := range g.parts {
		if err := checkPart(part); err != nil {
			bad = err
		}
	}
	if bad != nil {
		return nil, &capstan.Error{Class: capstan.ErrUsage, Op: "pattern", Object: pattern, Err: bad}
	}
	return g, nil
}

func checkPart(part string) error {
	for part != "" {
		switch part[0] {
		case '\\':
			if len(part) < 2 {
				return errPattern
			}
			part = part[2:]
		case '[':
			_, rest, ok := matchClass(part, 'x')
			if !ok {
				return errPattern
			}
			part = rest
		default:
			part = part[1:]
		}
	}
	return nil
}

// match reports whether the pattern matches the entry of this path.
func (g *glob) match(path string) bool {
	if !g.whole {
		_, name := capstan.SplitPath(path)
		return matchPart(g.parts[0], name)
	}
	return matchParts(g.parts, path)
}

// matchParts matches component by component. A ** first stands for nothing, and
// takes one more component each time that what follows does not match; only the
// last ** is ever tried again, so the time is bounded by the product of lengths.
func matchParts(parts []string, path string) bool {
	rest, done := path, path == ""
	retryParts, retryRest, retry := []string(nil), "", false
	next := func(s string) (string, string, bool) { return strings.Cut(s, "/") }
	for {
		switch {
		case len(parts) > 0 && parts[0] == "**":
			parts = parts[1:]
			if len(parts) == 0 {
				return true
			}
			retryParts, retryRest, retry = parts, rest, !done
			continue
		case len(parts) > 0 && !done:
			name, after, more := next(rest)
			if matchPart(parts[0], name) {
				parts, rest, done = parts[1:], after, !more
				continue
			}
		case len(parts) == 0 && done:
			return true
		}
		if !retry {
			return false
		}
		_, after, more := next(retryRest)
		parts, rest, done = retryParts, after, !more
		retryRest, retry = after, more
	}
}

// matchPart matches a pattern without slashes against a name, in time bounded by
// the product of their lengths.
func matchPart(pattern, name string) bool {
	retryPattern, retryName, retry := "", "", false
	for {
		if pattern == "" && name == "" {
			return true
		}
		if pattern != "" && pattern[0] == '*' {
			pattern = pattern[1:]
			retryPattern, retryName, retry = pattern, name, true
			continue
		}
		if pattern != "" && name != "" {
			char, size := firstChar(name)
			if rest, ok := matchChar(pattern, name[:size], char); ok {
				pattern, name = rest, name[size:]
				continue
			}
		}
		if !retry || retryName == "" {
			return false
		}
		_, size := firstChar(retryName)
		retryName = retryName[size:]
		pattern, name = retryPattern, retryName
	}
}

// firstChar gives the first character and its length; a byte that is no UTF-8 is
// a character beyond all others.
func firstChar(s string) (rune, int) {
	char, size := utf8.DecodeRuneInString(s)
	if char == utf8.RuneError && size == 1 {
		return utf8.MaxRune + 1 + rune(s[0]), 1
	}
	return char, size
}

// matchChar matches the first element of a pattern, which is no *, against one
// character, and gives the rest of the pattern.
func matchChar(pattern, bytes string, char rune) (rest string, ok bool) {
	switch pattern[0] {
	case '?':
		return pattern[1:], true
	case '[':
		ok, rest, _ := matchClass(pattern, char)
		return rest, ok
	case '\\':
		pattern = pattern[1:]
	}
	return strings.CutPrefix(pattern, bytes)
}

// matchClass matches a class at the start of pattern against a character; valid
// is false when its ] is missing.
func matchClass(pattern string, char rune) (ok bool, rest string, valid bool) {
	rest = pattern[1:]
	negated := rest != "" && (rest[0] == '!' || rest[0] == '^')
	if negated {
		rest = rest[1:]
	}
	for first := true; ; first = false {
		if rest == "" {
			return false, "", false
		}
		if rest[0] == ']' && !first {
			return ok != negated, rest[1:], true
		}
		low, after, valid := classChar(rest)
		if !valid {
			return false, "", false
		}
		high := low
		if strings.HasPrefix(after, "-") && !strings.HasPrefix(after, "-]") {
			if high, after, valid = classChar(after[1:]); !valid {
				return false, "", false
			}
		}
		ok = ok || (low <= char && char <= high)
		rest = after
	}
}

func classChar(s string) (char rune, rest string, valid bool) {
	s = strings.TrimPrefix(s, "\\")
	if s == "" {
		return 0, "", false
	}
	char, size := firstChar(s)
	return char, s[size:], true
}

// prefix is what every name begins with that the part of a pattern matches, and
// whether it is the whole name.
func prefix(part string) (text string, whole bool) {
	var b strings.Builder
	for i := 0; i < len(part); i++ {
		switch part[i] {
		case '*', '?', '[':
			return b.String(), false
		case '\\':
			i++
			if i == len(part) {
				return b.String(), false
			}
		}
		b.WriteByte(part[i])
	}
	return b.String(), true
}

// suffix is what every name ends with that the part of a pattern matches, where
// that is easily seen; it may be empty.
func suffix(part string) string {
	i := strings.LastIndexAny(part, `*?[]\`)
	return part[i+1:]
}

func (g *glob) String() string { return fmt.Sprint(strings.Join(g.parts, "/")) }
