package process

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// ExitError says how a child failed. errors.Is finds why it was ended (ErrTimeout,
// ErrStopped, the cause of the context) or what failed beside it (a writer's error).
type ExitError struct {
	Name     string   // base name of the program
	Args     []string // as given, passwords in URLs removed
	ExitCode int      // -1 if it was ended by a signal or its end is not known
	Signal   string   // that ended it; empty otherwise
	Stderr   string   // the last lines of captured stderr
	Elapsed  time.Duration
	Err      error // why it was ended, or what failed beside it; nil if it failed by itself
}

// Error gives one line: the program, how it ended, and what it said last.
func (e *ExitError) Error() string {
	var b strings.Builder
	b.WriteString(e.Name)
	switch {
	case e.Err != nil:
		fmt.Fprintf(&b, ": %s after %v", strings.ReplaceAll(e.Err.Error(), "\n", "; "), e.Elapsed.Round(time.Millisecond))
		if e.Signal != "" {
			fmt.Fprintf(&b, " (signal: %s)", e.Signal)
		}
	case e.Signal != "":
		fmt.Fprintf(&b, ": ended by signal: %s", e.Signal)
	default:
		fmt.Fprintf(&b, ": exit status %d", e.ExitCode)
	}
	if e.Stderr != "" {
		b.WriteString(": " + strings.ReplaceAll(e.Stderr, "\n", " | "))
	}
	return b.String()
}

// Unwrap gives Err.
func (e *ExitError) Unwrap() error { return e.Err }

// failure makes the error of an ended child, nil if all is well.
func (p *Process) failure(r Result, err error) error {
	if err == nil && r.ExitCode == 0 {
		return nil
	}
	return &ExitError{
		Name: p.command.name(), Args: redact(p.command.Args), ExitCode: r.ExitCode, Signal: r.Signal,
		Stderr: lastLines(r.Stderr), Elapsed: r.Elapsed, Err: err,
	}
}

var urlPassword = regexp.MustCompile(`(://[^:/@\s]*:)[^@/\s]*@`)

// redact removes passwords from URLs. It is a last resort: secrets do not belong
// into arguments.
func redact(args []string) []string {
	clean := make([]string, len(args))
	for i, arg := range args {
		clean[i] = urlPassword.ReplaceAllString(arg, "${1}***@")
	}
	return clean
}

const (
	stderrLines = 5
	stderrBytes = 500
)

// lastLines is the end of what a child said, short enough for a message.
func lastLines(stderr []byte) string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(stderr), "?"))
	lines := strings.Split(text, "\n")
	kept := lines[max(0, len(lines)-stderrLines):]
	for i, line := range kept {
		kept[i] = strings.TrimRight(line, "\r\t ")
	}
	text = strings.Join(kept, "\n")
	if len(text) > stderrBytes {
		text = "..." + strings.ToValidUTF8(text[len(text)-stderrBytes:], "")
	}
	return text
}
