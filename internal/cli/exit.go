package cli

import (
	"context"
	"errors"

	"capstan"
)

// The exit codes that scripts rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitIncomplete  = 3
	exitRefused     = 4
	exitNotFound    = 10
	exitLocked      = 11
	exitWrongKey    = 12
	exitInterrupted = 130
)

// exitCode turns a command's error into its exit code. What a person did comes
// before what it led to: an interrupted run also failed, but exits 130.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	for _, class := range []struct {
		err  error
		code int
	}{
		{capstan.ErrInterrupted, exitInterrupted},
		{context.Canceled, exitInterrupted},
		{capstan.ErrUsage, exitUsage},
		{capstan.ErrRefused, exitRefused},
		{capstan.ErrNotFound, exitNotFound},
		{capstan.ErrLocked, exitLocked},
		{capstan.ErrLeaseLost, exitLocked},
		{capstan.ErrWrongKey, exitWrongKey},
		{capstan.ErrIncomplete, exitIncomplete},
	} {
		if errors.Is(err, class.err) {
			return class.code
		}
	}
	return exitFailed
}
