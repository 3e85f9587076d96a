package disk

import (
	"errors"
	"io/fs"
)

// Op names an operation for Faults and in errors.
type Op string

// The operations. Reading a file through File or FS.ReadFile asks once for the
// opening and once for each read.
const (
	OpCreate  Op = "create"
	OpOpen    Op = "open"
	OpRead    Op = "read"
	OpWrite   Op = "write"
	OpSync    Op = "sync"
	OpClose   Op = "close"
	OpOwn     Op = "change the owner of"
	OpRename  Op = "rename"
	OpRemove  Op = "remove"
	OpMkdir   Op = "mkdir"
	OpSyncDir Op = "sync directory"
	OpStat    Op = "stat"
	OpList    Op = "list"
	OpFree    Op = "free"

	OpExchange Op = "exchange"
	OpSetOwner Op = "set owner and mode"
)

// Faults is asked before every operation.
type Faults interface {
	// Before may return an error, which the operation then fails with instead of
	// being done (a *ShortWrite does part of a write first), or block as long as
	// it likes. n is the number of bytes to be read or written, else 0; path is
	// the one that is acted upon, of a rename the old one. It is called from
	// whichever goroutine acts.
	Before(op Op, path string, n int) error
}

// FaultFunc is a function as Faults.
type FaultFunc func(op Op, path string, n int) error

// Before calls the function.
func (f FaultFunc) Before(op Op, path string, n int) error { return f(op, path, n) }

// ShortWrite is a fault that lets the first N bytes of a write through and then
// fails with Err, as a disk does that fills up in the middle.
type ShortWrite struct {
	N   int
	Err error
}

// Error is that of Err.
func (s *ShortWrite) Error() string { return "short write: " + s.Err.Error() }

// Unwrap gives Err.
func (s *ShortWrite) Unwrap() error { return s.Err }

// before asks the hook, and gives its error the form of the system's.
func (f FS) before(op Op, path string, n int) error {
	if f.Faults == nil {
		return nil
	}
	if err := f.Faults.Before(op, path, n); err != nil {
		return classed(&fs.PathError{Op: string(op), Path: path, Err: err})
	}
	return nil
}

// shortWrite is the number of bytes that an injected fault lets through.
func shortWrite(err error, n int) int {
	if short, ok := errors.AsType[*ShortWrite](err); ok {
		return min(max(short.N, 0), n)
	}
	return 0
}
