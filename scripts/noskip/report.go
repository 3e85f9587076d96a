package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json` and, for the
// build events, `go help buildjson`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build events
	Test        string // empty for events of the whole package
	Output      string
	FailedBuild string
}

// test identifies a test within the whole run.
type test struct{ pkg, name string }

// verdict is what a run came to.
type verdict struct {
	passed, failed int // packages
	skipped        []string
}

func (v verdict) good() bool { return v.failed == 0 && v.passed > 0 && len(v.skipped) == 0 }

// reporter holds back a test's output until its fate is known. Memory is
// bounded by the output of the packages that run at the same time.
type reporter struct {
	out     *bufio.Writer
	pending map[test][]string
	verdict verdict
}

// report copies what matters of a run to out, flushing after each package, and
// ends with the word that go test ends with.
func report(in io.Reader, out *bufio.Writer) (verdict, error) {
	r := reporter{out: out, pending: map[test][]string{}}
	for decoder := json.NewDecoder(in); ; {
		var e event
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return verdict{}, fmt.Errorf("read the output of go test -json: %w", err)
		}
		if err := r.handle(e); err != nil {
			return verdict{}, err
		}
	}
	for _, line := range r.verdict.skipped {
		fmt.Fprintf(out, "--- SKIP: %s", line)
	}
	switch {
	case len(r.verdict.skipped) > 0:
		fmt.Fprintf(out, "FAIL: %d skipped; where the tests count, every test runs\nFAIL\n", len(r.verdict.skipped))
	case r.verdict.passed+r.verdict.failed == 0:
		fmt.Fprint(out, "FAIL: no package was tested\nFAIL\n")
	case !r.verdict.good():
		fmt.Fprint(out, "FAIL\n")
	}
	return r.verdict, nil
}

func (r *reporter) handle(e event) error {
	key := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		r.pending[key] = append(r.pending[key], e.Output)
	case "skip":
		if e.Test != "" {
			r.skip(key)
		} else { // "no test files"
			r.closing(key)
		}
	case "pass":
		if e.Test == "" {
			r.verdict.passed++
			r.closing(key)
		}
		delete(r.pending, key)
	case "fail":
		if e.Test == "" {
			r.verdict.failed++
			r.flushPackage(e.Package)
		} else {
			r.flush(key)
		}
	}
	if e.Test == "" {
		return r.out.Flush()
	}
	return nil
}

// skip keeps the reason that the test gave.
func (r *reporter) skip(key test) {
	var reason []string
	for _, line := range r.pending[key] {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !isMark(trimmed) {
			reason = append(reason, trimmed)
		}
	}
	r.verdict.skipped = append(r.verdict.skipped, fmt.Sprintf("%s %s: %s\n", key.pkg, key.name, strings.Join(reason, " ")))
	delete(r.pending, key)
}

// closing prints the line about a package that ends it ("ok", "?") and drops
// what its tests printed on the way.
func (r *reporter) closing(key test) {
	for _, line := range r.pending[key] {
		if strings.HasPrefix(line, "ok  ") || strings.HasPrefix(line, "?   ") || strings.HasPrefix(line, "\t") {
			fmt.Fprint(r.out, line)
		}
	}
	delete(r.pending, key)
}

// flushPackage prints what is held of a package that failed: of tests that did
// not end (a panic, a timeout) and of the package itself.
func (r *reporter) flushPackage(pkg string) {
	var names []string
	for key := range r.pending {
		if key.pkg == pkg && key.name != "" {
			names = append(names, key.name)
		}
	}
	slices.Sort(names)
	for _, name := range append(names, "") {
		r.flush(test{pkg, name})
	}
}

func (r *reporter) flush(key test) {
	for _, line := range r.pending[key] {
		if !strings.HasPrefix(line, "=== ") && line != "PASS\n" {
			fmt.Fprint(r.out, line)
		}
	}
	delete(r.pending, key)
}

// isMark reports whether a line is one of those that go test -v puts around a
// test's own output.
func isMark(line string) bool {
	return strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ")
}
