//go:build linux || darwin

package disk

import (
	"math"
	"math/bits"
	"os"
	"syscall"

	"capstan"
)

// multiply gives blocks of a size as bytes; filesystems that have no end (some
// network ones) answer with more than fits.
func multiply(blocks uint64, size int64) capstan.Bytes {
	high, low := bits.Mul64(blocks, uint64(max(size, 0)))
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return capstan.Bytes(low)
}

func sameDevice(a, b string) (bool, error) {
	one, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	two, err := os.Stat(b)
	if err != nil {
		return false, err
	}
	left, okLeft := one.Sys().(*syscall.Stat_t)
	right, okRight := two.Sys().(*syscall.Stat_t)
	return okLeft && okRight && left.Dev == right.Dev, nil
}
