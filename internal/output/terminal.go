package output

import (
	"io"
	"os"

	"golang.org/x/term"
)

// terminal is a stream's terminal: how to ask for its size, and whether it
// understands escape sequences.
type terminal struct {
	file    *os.File
	escapes bool
}

// terminalOf gives the terminal behind a writer, or nil. It does not change the
// mode of the file, as File.Fd would.
func terminalOf(w io.Writer, getenv func(string) string) *terminal {
	file, ok := w.(*os.File)
	if !ok || file == nil {
		return nil
	}
	found, escapes := false, false
	control(file, func(fd uintptr) {
		if found = term.IsTerminal(int(fd)); found {
			escapes = understandsEscapes(fd, getenv)
		}
	})
	if !found {
		return nil
	}
	return &terminal{file: file, escapes: escapes}
}

// size asks for columns and rows at this moment; zero where the terminal does not know.
func (t *terminal) size() (columns, rows int) {
	control(t.file, func(fd uintptr) {
		if c, r, err := term.GetSize(int(fd)); err == nil {
			columns, rows = c, r
		}
	})
	return columns, rows
}

// control calls f with the file's descriptor; not at all if the file is closed.
func control(file *os.File, f func(fd uintptr)) {
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(f) // fails only for a closed file, and then f was not called
}
