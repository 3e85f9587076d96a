// Command capstan backs up file trees into catalogued, verified sets and
// restores them. See the README for its use.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"capstan/internal/cli"
)

// garbage is how much of it may come together before it is collected, in percent
// of what is in use. That is for the most part a few large buffers which live as
// long as a run and cost the collector nothing: with Go's own 100, garbage would
// double what is resident.
const garbage = 40

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	ctx, stop := cli.Signals(context.Background())
	code := cli.Run(ctx, os.Args[1:], cli.Streams{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
