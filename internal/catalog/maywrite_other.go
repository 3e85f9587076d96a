//go:build !unix

package catalog

import "os"

// mayWrite reports whether the system would let this user write a file.
func mayWrite(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o200 != 0
}
