//go:build unix

package catalog

import sys "golang.org/x/sys/unix"

// mayWrite reports whether the system would let this user write a file.
func mayWrite(path string) bool { return sys.Access(path, sys.W_OK) == nil }
