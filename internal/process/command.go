package process

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"capstan"
)

const (
	defaultGrace = 10 * time.Second
	defaultKeep  = 64 * capstan.KiB
)

// Command says what to run. It may be used more than once if its Stdin may.
type Command struct {
	Path string   // a path, or a name that is looked for in PATH
	Args []string // without the program's name
	Dir  string   // where it runs; empty means here
	// As is the user that it runs as; nil means this program's own. Only root may
	// name another, and only where users have numbers.
	As *Account
	// Env is the whole environment, "KEY=value"; nil means this program's own.
	Env     []string
	Timeout time.Duration // from the start; 0 means none
	Grace   time.Duration // between SIGTERM and SIGKILL; 0 means ten seconds
	// Stdin is copied to the child; nil means that it reads the end of file at once.
	// An *os.File is handed to it as it is. When the child ends before it has read
	// everything, Stdin may be read once more afterwards.
	Stdin io.Reader
	// Stdout and Stderr receive what the child writes, from one goroutine each; an
	// *os.File is handed to the child as it is. A writer that fails ends the child's
	// stream (SIGPIPE) and the failure is the error of the command. A writer that
	// blocks holds the child up; it must wake up by itself when the context ends.
	// nil captures the last Keep bytes for the Result.
	Stdout, Stderr io.Writer
	Keep           capstan.Bytes // 0 means 64 KiB
}

// Account is a user of the system with his groups.
type Account struct {
	UID, GID uint32
	Groups   []uint32 // besides GID
}

// Result is what a child left behind. It is valid beside an error too.
type Result struct {
	ExitCode int    // -1 if it was ended by a signal, or not started
	Signal   string // that ended it: "killed"; empty otherwise
	// Stdout and Stderr are the last Keep bytes of what was not streamed; Cut says
	// that there was more.
	Stdout, Stderr       []byte
	StdoutCut, StderrCut bool
	// Held says that a process that the child left behind kept its output open; it
	// was no longer listened to.
	Held    bool
	Elapsed time.Duration
}

// ErrTimeout is the cause of ending a child whose Timeout has passed.
var ErrTimeout = errors.New("timed out")

// ErrStopped is the cause of ending a child by Stop.
var ErrStopped = errors.New("stopped")

// ErrNotBegun reports a child that did not become its program before the timeout or
// the end of the context. Should it do so later, it is killed at once.
var ErrNotBegun = errors.New("could not begin")

// ErrImmortal reports a child that is still there seconds after SIGKILL: it hangs in
// the kernel, in most cases on a device or a network file system that does not answer.
var ErrImmortal = errors.New("cannot be killed; it hangs in the kernel")

// ErrHeld reports output that may be incomplete: the child ended, but a process that
// it left behind keeps its standard output open.
var ErrHeld = errors.New("left a process behind that keeps its output open")

// name is how messages call the command.
func (c *Command) name() string { return filepath.Base(c.Path) }

// find looks the program up, and refuses what would tie the child to the terminal.
func (c *Command) find() (string, error) {
	for stream, end := range map[string]any{"stdin": c.Stdin, "stdout": c.Stdout, "stderr": c.Stderr} {
		if file, ok := end.(*os.File); ok && standard(file) {
			return "", &capstan.Error{Class: capstan.ErrRefused, Op: "start", Object: c.name(), Err: errors.New("it would inherit this program's " + stream)}
		}
	}
	path, err := exec.LookPath(c.Path)
	if err == nil {
		return path, nil
	}
	// "exec: "x": executable file not found in $PATH" holds the name twice.
	if lookup, ok := errors.AsType[*exec.Error](err); ok {
		err = lookup.Err
	}
	next := "check the path"
	if !strings.ContainsRune(c.Path, filepath.Separator) {
		next = "install it, or give its full path"
	}
	return "", &capstan.Error{Op: "start", Object: c.Path, Err: err, Next: next}
}

// standard reports whether a file is one of this program's standard streams.
func standard(file *os.File) bool {
	if file == nil {
		return false
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return false
	}
	found := false
	_ = conn.Control(func(fd uintptr) { found = isStandard(fd) }) // fails for a closed file only, which is none
	return found
}
