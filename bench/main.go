// Command bench measures capstan beside tar, zstd, pigz and restic: the same
// data, the same machine, by turns, medians of several runs. It prints a table
// and writes it to docs/benchmarks.md.
//
// It knows capstan by its command line only. What it makes lies in one
// temporary directory, which it removes at the end, also when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"capstan"
)

// options are the command line.
type options struct {
	capstan string // the binary
	dir     string // where the temporary directory is made; empty: the system's
	out     string // the report's file; empty: none
	cases   []string
	peers   []string
	runs    int
	tree    capstan.Bytes
	large   capstan.Bytes
	random  capstan.Bytes
	tiny    int // files
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{tree: 1600 * capstan.MiB, large: 2 * capstan.GiB, random: capstan.GiB, cases: caseNames(), peers: peerNames()}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.capstan, "capstan", "bin/capstan", "the binary to measure")
	flags.StringVar(&o.dir, "dir", "", "`directory` for the data and what is made of it (three times the largest data set)")
	flags.StringVar(&o.out, "out", "docs/benchmarks.md", "`file` for the report; empty for none")
	flags.IntVar(&o.runs, "runs", 3, "runs of each, of which the median counts")
	flags.IntVar(&o.tiny, "tiny", 300_000, "number of files of the case tiny")
	list := func(to *[]string, name string, known []string) {
		flags.Func(name, fmt.Sprintf("comma-separated `names` out of %s (default all)", strings.Join(known, ",")), func(s string) error {
			*to = strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
			for _, word := range *to {
				if !slices.Contains(known, word) {
					return fmt.Errorf("no %q", word)
				}
			}
			return nil
		})
	}
	list(&o.cases, "cases", caseNames())
	list(&o.peers, "peers", peerNames())
	size := func(to *capstan.Bytes, name, what string) {
		flags.Func(name, fmt.Sprintf("`size` of %s (default %v)", what, *to), func(s string) (err error) {
			*to, err = capstan.ParseBytes(s)
			return err
		})
	}
	size(&o.tree, "tree", "the tree of real files")
	size(&o.large, "large", "the one large compressible file")
	size(&o.random, "random", "the one incompressible file")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if o.runs < 1 || o.tiny < 1 || flags.NArg() > 0 {
		return options{}, fmt.Errorf("-runs and -tiny are at least 1, and there are no arguments (%q)", flags.Args())
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.capstan, err = filepath.Abs(o.capstan); err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.dir, "capstan-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if removeErr := os.RemoveAll(work); err == nil {
			err = removeErr
		}
	}()

	rivals, missing := present(contestants(o.capstan, o.peers))
	if slices.Contains(missing, "capstan") {
		return fmt.Errorf("no program %s: build it with `make build`, or name one with -capstan", o.capstan)
	}
	r := report{when: time.Now(), machine: describe(ctx, work), runs: o.runs, missing: missing}
	if r.floor, err = floor(ctx); err != nil {
		return err
	}
	for _, c := range cases(o) {
		if !slices.Contains(o.cases, c.name) {
			continue
		}
		fmt.Fprintf(stderr, "%s: making the data\n", c.name)
		result, err := c.measure(ctx, filepath.Join(work, c.name), rivals, o.runs, stderr)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		r.results = append(r.results, result)
	}
	text := r.markdown()
	if _, err := io.WriteString(stdout, text); err != nil || o.out == "" {
		return err
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}
