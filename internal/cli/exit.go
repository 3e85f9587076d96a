package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

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

// exitText stands in the help of every command that has no list of its own.
const exitText = `Exit codes: 0 done; 1 failed; 2 wrong usage; 3 finished, but something named is
missing, unreadable or damaged; 4 refused for safety; 10 no such set, job or
volume; 11 locked by another run; 12 wrong key; 130 interrupted.`

func tellExitCodes(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		tellExitCodes(sub)
	}
	if strings.Contains(cmd.Long, "Exit codes:") || !cmd.Runnable() && !cmd.HasSubCommands() {
		return
	}
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long = strings.TrimRight(cmd.Long, "\n") + "\n\n" + exitText
}

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
