package tarfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	partMark  = ".capstan-part-"
	partHash  = 8 // bytes of the hash in a shortened stem
	maxName   = 255
	maxDigits = 9
	// maxStem is the longest last component that every part's number fits behind.
	maxStem = maxName - len(partMark) - maxDigits
)

// PartStem is the path that the names of a file's parts begin with: the file's
// own, unless its last component is longer than 232 bytes, so that a part's name
// might exceed the 255 bytes that filesystems take. Then as much of the component
// as fits is followed by "~" and 16 hexadecimal digits of its SHA-256. UTF-8 stays
// UTF-8.
func PartStem(path string) string {
	at := strings.LastIndexByte(path, '/') + 1
	base := path[at:]
	if len(base) <= maxStem {
		return path
	}
	sum := sha256.Sum256([]byte(base))
	cut := maxStem - 1 - hex.EncodedLen(partHash)
	for least := cut - utf8.UTFMax; cut > least && !utf8.RuneStart(base[cut]); {
		cut--
	}
	return path[:at] + base[:cut] + "~" + hex.EncodeToString(sum[:partHash])
}

// PartName names the i-th part, counted from 1, of a file that is larger than
// an archive.
func PartName(path string, i int) string { return PartStem(path) + PartEnding(i) }

// PartEnding is what stands behind the stem in the name of the i-th part.
func PartEnding(i int) string { return fmt.Sprintf("%s%04d", partMark, i) }

// ParsePartName takes the name of a part apart, into the file's PartStem and the
// part's number. ok is false for every other name, also for stems and numbers
// that PartName would write in another way.
func ParsePartName(name string) (stem string, i int, ok bool) {
	at := strings.LastIndex(name, partMark)
	if at < 1 || name[at-1] == '/' || PartStem(name[:at]) != name[:at] {
		return "", 0, false
	}
	digits := name[at+len(partMark):]
	if len(digits) < 4 || len(digits) > maxDigits || (len(digits) > 4 && digits[0] == '0') {
		return "", 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 {
		return "", 0, false
	}
	return name[:at], int(n), true
}
