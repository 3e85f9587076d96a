//go:build unix

package doctor

import "golang.org/x/sys/unix"

// openFileLimit is how many files this process may hold open.
func openFileLimit() (limit uint64, known bool) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true //nolint:unconvert // signed on some systems
}
