package files

import (
	"errors"
	"strings"
)

type globKind uint8

const (
	globByte globKind = iota // one given byte
	globAny                  // "?": one byte other than a slash
	globSet                  // "[...]": one byte of a set, never a slash
	globStar                 // "*": any bytes other than slashes
	globDirs                 // "**/": nothing, or anything up to and with a slash
	globAll                  // "**" as the last component: anything
)

// glob is one element of a compiled pattern.
type glob struct {
	kind globKind
	char byte
	set  *byteSet
}

type byteSet [4]uint64

func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

// parseGlob compiles a pattern. Where deep is false there are no slashes in
// what it matches, and "**" means "*".
func parseGlob(pattern string, deep bool) ([]glob, error) {
	var out []glob
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			i++
			if i == len(pattern) {
				return nil, errors.New("a backslash at the end protects nothing")
			}
			out = append(out, glob{kind: globByte, char: pattern[i]})
		case '?':
			out = append(out, glob{kind: globAny})
		case '[':
			set, length, err := parseSet(pattern[i:])
			if err != nil {
				return nil, err
			}
			out = append(out, glob{kind: globSet, set: set})
			i += length - 1
		case '*':
			end := i
			for end < len(pattern) && pattern[end] == '*' {
				end++
			}
			rest := pattern[end:]
			alone := deep && end-i > 1 && (i == 0 || pattern[i-1] == '/')
			switch {
			case alone && strings.HasPrefix(rest, "/"):
				out = append(out, glob{kind: globDirs})
				end++
			case alone && (rest == "" || strings.HasPrefix(rest, `\/`)):
				out = append(out, glob{kind: globAll})
			default:
				out = append(out, glob{kind: globStar})
			}
			i = end - 1
		default:
			out = append(out, glob{kind: globByte, char: c})
		}
	}
	return out, nil
}

var errSet = errors.New("a [ without its ] (write \\[ for the character itself)")

// parseSet compiles the bracket expression that pattern begins with, and tells
// how long it is.
func parseSet(pattern string) (*byteSet, int, error) {
	set := &byteSet{}
	i := 1
	negate := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negate {
		i++
	}
	for first := true; ; first = false {
		if i >= len(pattern) {
			return nil, 0, errSet
		}
		if pattern[i] == ']' && !first {
			break
		}
		if class, length, ok := cutClass(pattern[i:]); ok {
			if err := set.addClass(class); err != nil {
				return nil, 0, err
			}
			i += length
			continue
		}
		low, next, err := setByte(pattern, i)
		if err != nil {
			return nil, 0, err
		}
		high := low
		if next+1 < len(pattern) && pattern[next] == '-' && pattern[next+1] != ']' {
			if high, next, err = setByte(pattern, next+1); err != nil {
				return nil, 0, err
			}
		}
		for c := int(low); c <= int(high); c++ {
			set.add(byte(c))
		}
		i = next
	}
	if negate {
		for w := range set {
			set[w] = ^set[w]
		}
	}
	set['/'>>6] &^= 1 << ('/' & 63)
	return set, i + 1, nil
}

// setByte reads one byte of a bracket expression, which a backslash may protect.
func setByte(pattern string, i int) (c byte, next int, err error) {
	if pattern[i] == '\\' {
		i++
	}
	if i >= len(pattern) {
		return 0, 0, errSet
	}
	return pattern[i], i + 1, nil
}

// cutClass recognises "[:name:]".
func cutClass(pattern string) (name string, length int, ok bool) {
	if !strings.HasPrefix(pattern, "[:") {
		return "", 0, false
	}
	end := strings.IndexByte(pattern[2:], ']')
	if end < 1 || pattern[1+end] != ':' {
		return "", 0, false
	}
	return pattern[2 : 1+end], end + 3, true
}

func (s *byteSet) addClass(name string) error {
	var in func(c byte) bool
	lower := func(c byte) bool { return 'a' <= c && c <= 'z' }
	upper := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	graph := func(c byte) bool { return '!' <= c && c <= '~' }
	alnum := func(c byte) bool { return lower(c) || upper(c) || digit(c) }
	switch name {
	case "alnum":
		in = alnum
	case "alpha":
		in = func(c byte) bool { return lower(c) || upper(c) }
	case "blank":
		in = func(c byte) bool { return c == ' ' || c == '\t' }
	case "cntrl":
		in = func(c byte) bool { return c < ' ' || c == 0x7f }
	case "digit":
		in = digit
	case "graph":
		in = graph
	case "lower":
		in = lower
	case "print":
		in = func(c byte) bool { return c == ' ' || graph(c) }
	case "punct":
		in = func(c byte) bool { return graph(c) && !alnum(c) }
	case "space":
		in = func(c byte) bool { return c == ' ' || ('\t' <= c && c <= '\r') }
	case "upper":
		in = upper
	case "xdigit":
		in = func(c byte) bool { return digit(c) || ('a' <= c|0x20 && c|0x20 <= 'f') }
	default:
		return errors.New("unknown character class [:" + name + ":]")
	}
	for c := range 256 {
		if in(byte(c)) {
			s.add(byte(c))
		}
	}
	return nil
}

// matchGlob tells whether the whole text matches. It keeps two places to go back
// to, the last "*" and the last "**": an earlier one of the same sort could only
// match more than the last one can, so time is bounded by a product of lengths.
func matchGlob(globs []glob, text string) bool {
	star, deep := retreat{}, retreat{}
	g, t := 0, 0
	for {
		if g == len(globs) && t == len(text) {
			return true
		}
		if g < len(globs) {
			switch kind := globs[g].kind; kind {
			case globStar:
				g++
				star = retreat{set: true, glob: g, text: t}
				continue
			case globDirs, globAll:
				g++
				star, deep = retreat{}, retreat{set: true, glob: g, text: t, dirs: kind == globDirs}
				continue
			case globByte, globAny, globSet:
				if t < len(text) && globs[g].takes(text[t]) {
					g, t = g+1, t+1
					continue
				}
			}
		}
		if star.set && star.text < len(text) && text[star.text] != '/' {
			star.text++
			g, t = star.glob, star.text
			continue
		}
		star = retreat{}
		if !deep.advance(text) {
			return false
		}
		g, t = deep.glob, deep.text
	}
}

// retreat is a place to go on from after a mismatch.
type retreat struct {
	set, dirs  bool
	glob, text int
}

// advance lets a "**" swallow more; false when it cannot.
func (r *retreat) advance(text string) bool {
	switch {
	case !r.set:
		return false
	case r.dirs:
		i := strings.IndexByte(text[r.text:], '/')
		r.text += i + 1
		return i >= 0
	}
	r.text++
	return r.text <= len(text)
}

func (g *glob) takes(c byte) bool {
	switch g.kind {
	case globByte:
		return g.char == c
	case globAny:
		return c != '/'
	case globSet:
		return g.set.has(c)
	case globStar, globDirs, globAll:
	}
	return false
}
