// Command capstan backs up file trees into catalogued, verified sets and
// restores them. See the README for its use.
package main

import (
	"context"
	"os"

	"capstan/internal/cli"
)

func main() {
	ctx, stop := cli.Signals(context.Background())
	code := cli.Run(ctx, os.Args[1:], cli.Streams{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
