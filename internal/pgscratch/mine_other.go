//go:build !unix

package pgscratch

import "io/fs"

// mine is true where directories for temporary files are each user's own.
func mine(fs.FileInfo) bool { return true }
