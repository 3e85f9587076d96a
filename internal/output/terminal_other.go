//go:build !unix && !windows

package output

func understandsEscapes(uintptr, func(string) string) bool { return false }

// KeepRunning does nothing here: no signal tells of a broken pipe.
func KeepRunning() (undo func()) { return func() {} }

const openFlags = 0
