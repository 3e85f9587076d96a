// Command noskip reads the events of `go test -json` on standard input, and fails
// when a test was skipped: a test that could not run must not pass for one. What
// passed and failed is shown by the one who wrote the events.
//
//	gotestsum --jsonfile events.json ./... && noskip < events.json
//
// Exit codes: 0 every test ran; 1 one was skipped, or there was none; 2 the input is
// not what go test prints.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Stderr))
}

func run(in io.Reader, stdout, stderr io.Writer) int {
	ran, skipped, err := read(in)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "noskip:", err)
		return 2
	case len(skipped) > 0:
		for _, line := range skipped {
			fmt.Fprintln(stdout, "--- SKIP:", line)
		}
		fmt.Fprintf(stdout, "FAIL: %d skipped; where the tests count, every test runs\n", len(skipped))
		return 1
	case ran == 0:
		fmt.Fprintln(stdout, "FAIL: nothing was tested")
		return 1
	}
	return 0
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string // empty for events of the whole package
	Output  string
}

// read counts the tests that ran, and gives those that were skipped with the reason
// that they gave.
func read(in io.Reader) (ran int, skipped []string, err error) {
	said := map[[2]string][]string{} // by the tests that run at the same time
	for decoder := json.NewDecoder(in); ; {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			return ran, skipped, nil
		} else if err != nil {
			return 0, nil, fmt.Errorf("read the output of go test -json: %w", err)
		}
		if e.Test == "" {
			continue
		}
		key := [2]string{e.Package, e.Test}
		switch e.Action {
		case "output":
			if line := strings.TrimSpace(e.Output); line != "" && !isMark(line) {
				said[key] = append(said[key], line)
			}
		case "skip":
			skipped = append(skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, strings.Join(said[key], " ")))
			delete(said, key)
		case "pass", "fail":
			ran++
			delete(said, key)
		}
	}
}

// isMark reports whether a line is one of those that go test puts around a test's own
// output.
func isMark(line string) bool {
	return strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ")
}
