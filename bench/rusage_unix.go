//go:build linux || darwin

package main

import (
	"os"
	"runtime"
	"syscall"

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
