package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"capstan"
)

// bySignal is what the error of Signals says; see advise.
const bySignal = "interrupted by a signal"

// Signals gives a context that the first interrupt or termination signal
// cancels with capstan.ErrInterrupted as its cause. The second signal ends the
// process with exit code 130. stop undoes it.
func Signals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
		case <-done:
			return
		}
		cancel(&capstan.Error{
			Class: capstan.ErrInterrupted, Op: bySignal, // what to do next depends on the command
		})
		select {
		case <-signals:
			os.Exit(exitInterrupted) //nolint:forbidigo // the second signal waits for nothing that could return
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(context.Canceled)
	}
}
