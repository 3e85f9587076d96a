package tree

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

var (
	errNotUnicode = errors.New("Windows cannot hold a name that is not UTF-8")
	errNameEnd    = errors.New("Windows cannot hold a name that ends in a space or a dot")
	errReserved   = errors.New("Windows reserves this name")
)

// nameProblem says why a component cannot be a file name on Windows, see
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file.
func nameProblem(name string) error {
	for _, r := range name {
		if r < ' ' || strings.ContainsRune(`<>:"|?*\`, r) {
			return fmt.Errorf("Windows cannot hold %q in a name", r)
		}
	}
	switch {
	case !utf8.ValidString(name):
		return errNotUnicode
	case strings.HasSuffix(name, " ") || strings.HasSuffix(name, "."):
		return errNameEnd
	case !filepath.IsLocal(name):
		return errReserved
	}
	return nil
}
