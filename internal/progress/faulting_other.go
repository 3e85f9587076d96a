//go:build !linux

package progress

// faulting is not known on this system.
func faulting() bool { return false }
