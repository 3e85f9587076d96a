//go:build unix

package pgscratch

import (
	"io/fs"
	"os"
	"syscall"
)

// mine reports whether a directory is this user's: anybody may make one in a directory
// for temporary files.
func mine(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
