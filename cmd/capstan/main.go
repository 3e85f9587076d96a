// Command capstan backs up file trees into catalogued, verified sets and
// restores them. See the README for its use.
package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"capstan/internal/cli"
)

// garbage is how much of it may come together before it is collected, in percent
// of what is in use. That is for the most part a few large buffers which live as
// long as a run and cost the collector nothing: with Go's own 100, garbage would
// double what is resident.
const garbage = 40

// littleGarbage is not worth a collection, in bytes: where next to nothing is in use,
// as in a backup of what has not changed, the collector would take half of the time.
const littleGarbage = 24 << 20

func main() {
	if os.Getenv("GOGC") == "" {
		tendGarbage()
	}
	ctx, stop := cli.Signals(context.Background())
	code := cli.Run(ctx, os.Args[1:], cli.Streams{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// tendGarbage sets how much garbage may come together, now and after each collection.
func tendGarbage() {
	const least = 4 << 20 // runtime: what is in use counts as so much at least
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	live := max(sample[0].Value.Uint64(), least)
	debug.SetGCPercent(max(garbage, int(littleGarbage*100/live)))
	// What nobody refers to is found by the next collection.
	runtime.AddCleanup(new([16]byte), func(struct{}) { tendGarbage() }, struct{}{})
}
