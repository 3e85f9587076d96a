package output

import "golang.org/x/sys/windows"

// understandsEscapes switches a console's escape sequences on, which Windows 10 and
// later have (ENABLE_VIRTUAL_TERMINAL_PROCESSING).
func understandsEscapes(fd uintptr, _ func(string) string) bool {
	var mode uint32
	if err := windows.GetConsoleMode(windows.Handle(fd), &mode); err != nil {
		return false
	}
	if mode&windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING != 0 {
		return true
	}
	return windows.SetConsoleMode(windows.Handle(fd), mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}

// KeepRunning does nothing here: Windows tells of a broken pipe by an error only.
func KeepRunning() (undo func()) { return func() {} }

const openFlags = 0
