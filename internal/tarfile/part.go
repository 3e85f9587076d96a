package tarfile

import (
	"fmt"
	"strconv"
	"strings"
)

const partMark = ".capstan-part-"

// PartName names the i-th part, counted from 1, of a file that is larger than
// an archive.
func PartName(path string, i int) string {
	return fmt.Sprintf("%s%s%04d", path, partMark, i)
}

// ParsePartName takes the name of a part apart. ok is false for every other
// name, also for numbers that PartName would write in another way.
func ParsePartName(name string) (path string, i int, ok bool) {
	at := strings.LastIndex(name, partMark)
	if at < 1 || name[at-1] == '/' {
		return "", 0, false
	}
	digits := name[at+len(partMark):]
	if len(digits) < 4 || len(digits) > 9 || (len(digits) > 4 && digits[0] == '0') {
		return "", 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 {
		return "", 0, false
	}
	return name[:at], int(n), true
}
