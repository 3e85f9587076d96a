package tarfile

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const xattrKey = "SCHILY.xattr."

var (
	escapes   = strings.NewReplacer("%", "%25", "=", "%3D")
	unescapes = strings.NewReplacer("%25", "%", "%3D", "=")
)

// escapeXattr writes the name of an xattr as GNU tar does ("=" ends a keyword),
// but leaves a lone "%" alone, so that bsdtar, which does not unescape, restores
// such a name too. GNU tar gives every name back as it was.
func escapeXattr(name string) string {
	if strings.Contains(name, "=") || strings.Contains(name, "%25") || strings.Contains(name, "%3D") {
		return escapes.Replace(name)
	}
	return name
}

func unescapeXattr(name string) string {
	if strings.Contains(name, "%") {
		return unescapes.Replace(name)
	}
	return name
}

// appendTime writes a PAX time.
func appendTime(b []byte, t time.Time) []byte {
	sec, nsec := t.Unix(), int64(t.Nanosecond())
	if sec < 0 {
		b = append(b, '-')
		if nsec > 0 {
			sec, nsec = sec+1, 1e9-nsec
		}
		sec = -sec
	}
	b = strconv.AppendUint(b, uint64(sec), 10)
	if nsec == 0 {
		return b
	}
	b = append(b, '.')
	for digit := int64(1e8); nsec > 0; digit /= 10 {
		b = append(b, byte('0'+nsec/digit))
		nsec %= digit
	}
	return b
}

// parseTime reads a PAX time; digits after the ninth decimal are dropped.
func parseTime(s string) (time.Time, bool) {
	text, negative := strings.CutPrefix(s, "-")
	whole, fraction, dotted := strings.Cut(text, ".")
	sec, err := strconv.ParseUint(whole, 10, 62)
	if err != nil || (dotted && fraction == "") {
		return time.Time{}, false
	}
	var nsec int64
	scale := int64(1e8)
	for i := range len(fraction) {
		if fraction[i] < '0' || fraction[i] > '9' {
			return time.Time{}, false
		}
		nsec += int64(fraction[i]-'0') * scale
		scale /= 10
	}
	if negative {
		return time.Unix(-int64(sec), -nsec), true
	}
	return time.Unix(int64(sec), nsec), true
}

// longOwner reports whether a user's or group's name needs a record. A name
// that is neither short nor UTF-8 is left out: the number stays.
func longOwner(s string) bool {
	return (!plain(s) || len(s) >= ownerField) && utf8.ValidString(s) && cleanText(s)
}

// cleanText reports whether s has no zero byte.
func cleanText(s string) bool { return strings.IndexByte(s, 0) < 0 }

func decimalDigits(n int) int {
	digits := 1
	for ; n >= 10; n /= 10 {
		digits++
	}
	return digits
}
