// Command noskip reads the output of `go test -json` on standard input and
// prints what plain `go test` would have printed: a line for each package, and
// the output of what failed. Unlike go test it also fails, with exit code 1,
// when a test was skipped: a test that could not run must not pass for one.
//
//	set -o pipefail; go test -json ./... | noskip
//
// Exit codes: 0 every test passed; 1 a test failed or was skipped, or nothing
// was tested; 2 the input is not what go test prints.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Stderr))
}

func run(in io.Reader, stdout, stderr io.Writer) int {
	out := bufio.NewWriter(stdout)
	verdict, err := report(in, out)
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	if err != nil {
		fmt.Fprintln(stderr, "noskip:", err)
		return 2
	}
	if !verdict.good() {
		return 1
	}
	return 0
}
