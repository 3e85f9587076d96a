//go:build linux || darwin

package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"capstan"
)

// peakRSS is the largest resident size of an ended process and of the children
// that it waited for. getrusage(2) gives KiB on Linux, bytes on macOS.
func peakRSS(state *os.ProcessState) capstan.Bytes {
	used, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return capstan.Bytes(used.Maxrss)
	}
	return capstan.Bytes(used.Maxrss) * capstan.KiB
}

// settle lets what the last contestant wrote reach the disk, so that the next
// does not pay for it.
func settle() { syscall.Sync() }

// room is what a directory's filesystem still takes.
func room(dir string) (capstan.Bytes, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return capstan.Bytes(st.Bavail) * capstan.Bytes(st.Bsize), true
}
