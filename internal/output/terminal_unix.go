//go:build unix

package output

import (
	"os"
	"os/signal"
	"syscall"
)

// understandsEscapes goes by TERM, as everybody does.
func understandsEscapes(_ uintptr, getenv func(string) string) bool {
	name := getenv("TERM")
	return name != "" && name != "dumb"
}

// KeepRunning makes the process outlive its terminal's and its readers' moods: a
// broken pipe on stdout or stderr becomes an error of the write instead of SIGPIPE,
// which kills, and a background job on a terminal with "stty tostop" may write
// instead of being stopped by SIGTTOU. A program calls it once, before it writes;
// undo restores the defaults. Child processes get SIGPIPE's default back, since
// SIGPIPE is caught here and not ignored.
func KeepRunning() (undo func()) {
	pipe := make(chan os.Signal, 1) // nobody reads it; what does not fit is discarded
	signal.Notify(pipe, syscall.SIGPIPE)
	signal.Ignore(syscall.SIGTTOU)
	return func() {
		signal.Notify(pipe, syscall.SIGTTOU) // Reset alone does not undo Ignore
		signal.Stop(pipe)
	}
}

// openFlags keep the opening of a log file from blocking on a fifo without reader.
const openFlags = syscall.O_NONBLOCK
