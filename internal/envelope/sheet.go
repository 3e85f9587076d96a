package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// sheetTitle is the first line of a recovery sheet.
const sheetTitle = "CAPSTAN RECOVERY KEY"

const (
	lineLetters = 20 // of the key in one line of a sheet
	lineGroup   = 4
	keyLetters  = 58 // behind the prefix
	// letters are those of a key (Bech32, BIP 173): no 1, B, I and O, which look
	// like others. Each stands for five bits.
	letters = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
)

// sheetLines are the lines of a key as they are printed and typed: the prefix, then
// numbered groups of letters, each line with a check of its own:
//
//	AGE-SECRET-KEY-1
//	1: QPZR Y9X8 GF2T VDW0 S3JN / K7Q
func sheetLines(secret string) []string {
	prefix := secretPrefix
	if strings.HasPrefix(secret, pqSecretPrefix) {
		prefix = pqSecretPrefix
	}
	lines := []string{prefix}
	rest := secret[len(prefix):]
	for number := 1; rest != ""; number++ {
		n := min(lineLetters, len(rest))
		var groups []string
		for part := rest[:n]; part != ""; {
			m := min(lineGroup, len(part))
			groups = append(groups, part[:m])
			part = part[m:]
		}
		lines = append(lines, fmt.Sprintf("%d: %s / %s", number, strings.Join(groups, " "), lineCheck(number, rest[:n])))
		rest = rest[n:]
	}
	return lines
}

// lineCheck is three letters that depend on a line's number and its letters: the
// first 15 bits of the SHA-256 of "NUMBER:LETTERS". One wrong line in 32,768 passes,
// and then the checksum of the whole key tells.
func lineCheck(number int, line string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s", number, line))
	bits := binary.BigEndian.Uint16(sum[:]) >> 1
	return string([]byte{letters[bits>>10], letters[bits>>5&31], letters[bits&31]})
}

// isSheet reports whether a text has lines of a typed-in key.
func isSheet(text []byte) bool {
	for line := range bytes.Lines(text) {
		if prefixOf(string(line)) != "" {
			return true
		}
	}
	return false
}

// prefixOf gives the prefix of a key that stands alone in a line, however it was
// typed; else nothing.
func prefixOf(line string) string {
	line = strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, strings.ToUpper(line))
	switch line {
	case strings.ReplaceAll(secretPrefix, "-", ""):
		return secretPrefix
	case strings.ReplaceAll(pqSecretPrefix, "-", ""):
		return pqSecretPrefix
	}
	return ""
}

// keyLine is a numbered line, whatever stands around it.
var keyLine = regexp.MustCompile(`^(\d{1,2})\s*[:.]\s*([^/]*)/([^/]*)$`)

const maxSheetBytes = 64 << 10

// ReadSheet reads a key that was typed from a recovery sheet, or the text of a
// whole sheet: the line of the prefix and the numbered lines below it, in any
// order. Capitals, spaces and dashes do not matter, and O, I, 1 and B are taken
// for what they were mistaken for. An error names the line that has to be looked
// at again, and holds nothing of it.
func ReadSheet(r io.Reader) (Key, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSheetBytes+1))
	if err != nil {
		return Key{}, err
	}
	if len(text) > maxSheetBytes {
		return Key{}, errors.New("the text is too long for a recovery sheet")
	}
	prefix := ""
	typed := map[int]string{} // letters by line number
	for line := range strings.Lines(string(text)) {
		if p := prefixOf(line); p != "" {
			if prefix != "" && prefix != p {
				return Key{}, errors.New("the text has two keys of different kinds; leave one")
			}
			prefix = p
			continue
		}
		match := keyLine.FindStringSubmatch(strings.TrimSpace(line))
		if prefix == "" || match == nil {
			continue
		}
		number, err := strconv.Atoi(match[1])
		if err != nil {
			return Key{}, err
		}
		line = typedLetters(match[2])
		if typedLetters(match[3]) != lineCheck(number, line) {
			return Key{}, fmt.Errorf("line %d is not as it was printed: look at each letter, and at the check behind the stroke", number)
		}
		if other, ok := typed[number]; ok && other != line {
			return Key{}, fmt.Errorf("there are two different lines %d; leave one", number)
		}
		typed[number] = line
	}
	return assemble(prefix, typed)
}

// assemble makes a key of lines that are right in themselves.
func assemble(prefix string, lines map[int]string) (Key, error) {
	if prefix == "" {
		return Key{}, fmt.Errorf("there is no line %q; type the key from that line on", secretPrefix)
	}
	var text strings.Builder
	const all = (keyLetters + lineLetters - 1) / lineLetters
	for number := range all {
		line, ok := lines[number+1]
		if !ok {
			return Key{}, fmt.Errorf("line %d of %d is missing", number+1, all)
		}
		text.WriteString(line)
	}
	if len(lines) > all {
		return Key{}, fmt.Errorf("there are %d lines, and a key has %d", len(lines), all)
	}
	return ParseKey(prefix + text.String())
}

// typedLetters gives what was typed in the letters of a key, as far as they can
// be told.
func typedLetters(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case 'O':
			return '0'
		case 'I', '1':
			return 'L'
		case 'B':
			return '8'
		case ' ', '\t', '-', '\r':
			return -1
		}
		return r
	}, strings.ToUpper(s))
}
