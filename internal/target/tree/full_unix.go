//go:build unix && !linux

package tree

import (
	"errors"
	"syscall"
)

// diskFull reports that the filesystem or the quota is used up.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
