package manifest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner takes a line of JSON apart, value by value, without reflection: an
// entry costs a tenth of what encoding/json takes. After the first mistake err
// is set, every call returns a zero value, and every loop over next ends.
//
// The line must be valid UTF-8.
type scanner struct {
	line []byte
	at   int
	err  error
}

// maxDepth bounds the nesting of values that are skipped.
const maxDepth = 64

func (s *scanner) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("%s at byte %d", what, s.at)
	}
}

// peek gives the next byte that is no space, 0 at the end and after a mistake.
func (s *scanner) peek() byte {
	for s.err == nil && s.at < len(s.line) {
		switch c := s.line[s.at]; c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) {
	if s.peek() != c {
		s.fail("no " + strconv.QuoteRune(rune(c)))
		return
	}
	s.at++
}

// end makes sure that nothing follows.
func (s *scanner) end() {
	if s.err == nil && s.peek() != 0 || s.at < len(s.line) {
		s.fail("something follows")
	}
}

// next reports whether another element follows in the array or object that
// closes with c, and takes the comma before it; i counts them from 0.
func (s *scanner) next(c byte, i int) bool {
	if s.peek() == c {
		s.at++
		return false
	}
	if i > 0 {
		s.expect(',')
	}
	return s.err == nil
}

// limit fails at the element that is one too many; i counts them from 0.
func (s *scanner) limit(i, most int) {
	if i >= most {
		s.fail("too many values")
	}
}

// key takes the name of a field and its colon.
func (s *scanner) key() []byte {
	key := s.bytes()
	s.expect(':')
	return key
}

// null takes a null, which counts as a field that is absent.
func (s *scanner) null() bool {
	if s.peek() != 'n' {
		return false
	}
	s.word("null")
	return true
}

func (s *scanner) word(word string) {
	if len(s.line)-s.at < len(word) || string(s.line[s.at:s.at+len(word)]) != word {
		s.fail("no value")
		return
	}
	s.at += len(word)
}

// text takes a string, or nothing for null.
func (s *scanner) text() string {
	if s.null() {
		return ""
	}
	return string(s.bytes())
}

// base64 takes a string that holds bytes in standard base64; nil for null.
func (s *scanner) base64() []byte {
	if s.null() {
		return nil
	}
	text := s.bytes()
	value := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(value, text)
	if err != nil {
		s.fail("no base64")
	}
	return value[:n]
}

// bytes takes a string; what it gives is valid until the line changes.
func (s *scanner) bytes() []byte {
	s.expect('"')
	start := s.at
	for s.err == nil && s.at < len(s.line) {
		switch c := s.line[s.at]; {
		case c == '"':
			s.at++
			return s.line[start : s.at-1]
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.fail("a control character in a string")
		default:
			s.at++
		}
	}
	s.fail("a string does not end")
	return nil
}

// escaped takes the rest of a string from its first backslash.
func (s *scanner) escaped(start int) []byte {
	text := append([]byte(nil), s.line[start:s.at]...)
	for s.err == nil && s.at < len(s.line) {
		c := s.line[s.at]
		s.at++
		switch {
		case c == '"':
			return text
		case c < ' ':
			s.fail("a control character in a string")
		case c == '\\':
			text = s.escape(text)
		default:
			text = append(text, c)
		}
	}
	s.fail("a string does not end")
	return nil
}

func (s *scanner) escape(text []byte) []byte {
	if s.at == len(s.line) {
		return text
	}
	c := s.line[s.at]
	s.at++
	switch c {
	case '"', '\\', '/':
		return append(text, c)
	case 'b':
		return append(text, '\b')
	case 'f':
		return append(text, '\f')
	case 'n':
		return append(text, '\n')
	case 'r':
		return append(text, '\r')
	case 't':
		return append(text, '\t')
	case 'u':
		r := s.hex4()
		if utf16.IsSurrogate(r) && s.at+1 < len(s.line) && s.line[s.at] == '\\' && s.line[s.at+1] == 'u' {
			before := s.at
			s.at += 2
			if r = utf16.DecodeRune(r, s.hex4()); r == utf8.RuneError {
				s.at = before // a lone half; what follows stands for itself
			}
		}
		return utf8.AppendRune(text, r) // a lone half becomes U+FFFD
	}
	s.fail("an unknown escape")
	return text
}

func (s *scanner) hex4() rune {
	if len(s.line)-s.at < 4 {
		s.fail("a short escape")
		return 0
	}
	n, err := strconv.ParseUint(string(s.line[s.at:s.at+4]), 16, 16)
	if err != nil {
		s.fail("a bad escape")
	}
	s.at += 4
	return rune(n)
}

// unsigned takes a whole number up to limit; 0 for null.
func (s *scanner) unsigned(limit uint64) uint64 {
	if s.null() {
		return 0
	}
	start := s.at
	var n uint64
	for s.err == nil && s.at < len(s.line) && s.line[s.at]-'0' <= 9 {
		digit := uint64(s.line[s.at] - '0')
		if n > (limit-digit)/10 {
			s.fail("a number that is too large")
			return 0
		}
		n = n*10 + digit
		s.at++
	}
	if s.at == start || s.line[start] == '0' && s.at > start+1 {
		s.fail("no whole number")
	}
	return n
}

// size takes a number of bytes.
func (s *scanner) size() int64 { return int64(s.unsigned(math.MaxInt64)) } //nolint:gosec // bounded

// skip takes any value, for fields that a later version added.
func (s *scanner) skip(depth int) {
	if depth > maxDepth {
		s.fail("values nested too deep")
		return
	}
	switch s.peek() {
	case '{':
		s.at++
		for i := 0; s.next('}', i); i++ {
			s.key()
			s.skip(depth + 1)
		}
	case '[':
		s.at++
		for i := 0; s.next(']', i); i++ {
			s.skip(depth + 1)
		}
	case '"':
		s.bytes()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
}

// number takes any number of JSON.
func (s *scanner) number() {
	s.at += s.run("-", 1)
	zero := s.at < len(s.line) && s.line[s.at] == '0'
	whole := s.run(decimal, len(s.line))
	s.at += whole
	ok := whole == 1 || whole > 1 && !zero
	if s.run(".", 1) == 1 {
		s.at++
		decimals := s.run(decimal, len(s.line))
		s.at += decimals
		ok = ok && decimals > 0
	}
	if s.run("eE", 1) == 1 {
		s.at++
		s.at += s.run("+-", 1)
		digits := s.run(decimal, len(s.line))
		s.at += digits
		ok = ok && digits > 0
	}
	if !ok {
		s.fail("no value")
	}
}

const decimal = "0123456789"

// run counts the next bytes that are of a kind, at most limit.
func (s *scanner) run(of string, limit int) int {
	n := 0
	for n < limit && s.at+n < len(s.line) && containsByte(of, s.line[s.at+n]) {
		n++
	}
	return n
}

func containsByte(of string, c byte) bool {
	for i := range len(of) {
		if of[i] == c {
			return true
		}
	}
	return false
}

var errNotUTF8 = errors.New("it is not UTF-8")
