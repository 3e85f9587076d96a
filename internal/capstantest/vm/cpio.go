package vm

import (
	"fmt"
	"io"
)

// archive writes files as the kernel wants its first filesystem (cpio, "newc"; the
// kernel's Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w      io.Writer
	number int
	err    error
}

// The types and modes of what an archive holds.
const (
	modeDirectory = 0o040755
	modeProgram   = 0o100755
	modeFile      = 0o100644
	modeCharacter = 0o020600
)

// add writes one file; a device node has its major and minor number.
func (a *archive) add(name string, mode int, content []byte, device ...int) {
	var major, minor int
	if len(device) == 2 {
		major, minor = device[0], device[1]
	}
	a.number++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.number, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
	a.write([]byte(header + name + "\x00"))
	a.write(content)
}

// write writes p and pads it to a multiple of four.
func (a *archive) write(p []byte) {
	for _, part := range [][]byte{p, make([]byte, -len(p)&3)} {
		if a.err == nil {
			_, a.err = a.w.Write(part)
		}
	}
}

// close writes the end.
func (a *archive) close() error {
	a.add("TRAILER!!!", 0, nil)
	return a.err
}
