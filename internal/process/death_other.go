//go:build unix && !linux

package process

import "syscall"

// setDeathSignal does nothing: only Linux knows a death signal here.
func setDeathSignal(*syscall.SysProcAttr) {}
