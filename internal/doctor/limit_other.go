//go:build !unix

package doctor

// openFileLimit knows no limit on this system.
func openFileLimit() (limit uint64, known bool) { return 0, false }
