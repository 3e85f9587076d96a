package dir

import (
	"fmt"
	"strings"
)

// partSuffix ends the name of a file that is being written.
const partSuffix = ".part"

const maxName = 200 // bytes; with the ending every filesystem takes it

// checkName lets through what every filesystem, bucket and tape takes as a
// name: ASCII letters, digits, ".", "_" and "-", not first a dot or a dash, and
// not the ending of an unfinished file.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxName && name[0] != '.' && name[0] != '-' && !strings.HasSuffix(name, partSuffix)
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%q cannot be the name of a file on a volume", name)
	}
	return nil
}
