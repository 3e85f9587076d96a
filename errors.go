package capstan

import (
	"errors"
	"strings"
)

// Failure classes decide exit codes; errors.Is finds them through any wrapping.
var (
	ErrUsage       = errors.New("wrong usage")                           // exit 2
	ErrIncomplete  = errors.New("finished, but something is missing")    // exit 3
	ErrRefused     = errors.New("refused for safety")                    // exit 4
	ErrNotFound    = errors.New("not found")                             // exit 10
	ErrLocked      = errors.New("locked by another run")                 // exit 11
	ErrWrongKey    = errors.New("wrong key")                             // exit 12
	ErrInterrupted = errors.New("interrupted")                           // exit 130
	ErrCancelled   = errors.New("cancelled")                             // of an interruption: a person asked for it
	ErrSetExists   = errors.New("the set's name is taken on the volume") // the next number is tried
	ErrLeaseLost   = errors.New("the lease was lost")                    // exit 11; the next owner may be at work
	ErrNoSpace     = errors.New("not enough space")
	ErrDamaged     = errors.New("damaged")
)

// Error is a failure told to a person: what failed, on which object, what is
// safe, and what to do next.
type Error struct {
	Class  error  // one of the failure classes, or nil for a plain failure (exit 1)
	Op     string // what was being done: "open volume"
	Object string // on what: a path, a set id
	Err    error  // why
	Safe   string // what is not lost; may be empty
	Next   string // the command or act that helps; may be empty
}

// Error gives one line: op, object, reason, what is safe, what to do next.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Object != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e.Object)
	}
	if e.Err != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if e.Safe != "" {
		b.WriteString("; " + e.Safe)
	}
	if e.Next != "" {
		b.WriteString("; " + e.Next)
	}
	return b.String()
}

// Unwrap gives the reason and the class to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	var all []error
	if e.Err != nil {
		all = append(all, e.Err)
	}
	if e.Class != nil {
		all = append(all, e.Class)
	}
	return all
}

// Brief is an error in one line without its advice, for where several are named.
func Brief(err error) string {
	if told, ok := errors.AsType[*Error](err); ok {
		bare := *told
		bare.Safe, bare.Next = "", ""
		return bare.Error()
	}
	return err.Error()
}
