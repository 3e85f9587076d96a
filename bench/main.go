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
	capstan  string // the binary
	pure     string // the one that was built without cgo
	filler   string // the test binary of internal/catalog
	dir      string // where the temporary directory is made; empty: in memory, if there is room
	largeDir string // and the one of cases that need much room; empty: the system's
	out      string // the report's file; empty: none
	cases    []string
	peers    []string
	runs     int
	tree     capstan.Bytes
	large    capstan.Bytes
	random   capstan.Bytes
	archive  capstan.Bytes
	table    capstan.Bytes // of the PostgreSQL cases; there are two
	tables   int           // of the case pgtables
	tiny     int           // files
	entries  int           // of the catalog
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
	o := options{
		tree: 1600 * capstan.MiB, large: 10e9, random: 10e9, archive: 4 * capstan.GiB, table: 700 * capstan.MiB,
		cases: caseNames(), peers: peerNames(),
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.capstan, "capstan", "bin/capstan", "the binary to measure")
	flags.StringVar(&o.pure, "pure", "bin/capstan-pure", "the binary that was built without cgo")
	flags.StringVar(&o.filler, "filler", "bin/catalog.test", "the test binary of internal/catalog, for the case catalog")
	flags.StringVar(&o.dir, "dir", "", "`directory` for the data and what is made of it (default /dev/shm where it has room, else as -large-dir)")
	flags.StringVar(&o.largeDir, "large-dir", "", "`directory` for the cases disk, tenfold, large, random and single (default the system's for temporary files)")
	flags.StringVar(&o.out, "out", "docs/benchmarks.md", "`file` for the report; empty for none; a run of some cases only writes no file unless it is named")
	flags.IntVar(&o.runs, "runs", 3, "runs of each, of which the median counts")
	flags.IntVar(&o.tiny, "tiny", 100_000, "number of files of the case tiny")
	flags.IntVar(&o.tables, "tables", 10_000, "number of tables of the case pgtables")
	flags.IntVar(&o.entries, "entries", 10_000_000, "number of entries of the case catalog")
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
	size(&o.archive, "archive", "the archive of the case single")
	size(&o.table, "table", "each of the two tables of the PostgreSQL cases")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if o.runs < 1 || o.tiny < 1 || o.tables < 1 || o.entries < 1000 || flags.NArg() > 0 {
		return options{}, fmt.Errorf("-runs, -tiny and -tables are at least 1, -entries 1000, and there are no arguments (%q)", flags.Args())
	}
	named := false
	flags.Visit(func(f *flag.Flag) { named = named || f.Name == "out" })
	if !named && len(o.cases) < len(caseNames()) {
		o.out = ""
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
	for _, program := range []*string{&o.capstan, &o.pure, &o.filler} {
		if *program, err = filepath.Abs(*program); err != nil {
			return err
		}
	}
	if _, missing := present(contestants(o)); slices.Contains(missing, ours) {
		return fmt.Errorf("no program %s: build it with `make build`, or name one with -capstan", o.capstan)
	}
	r := report{when: time.Now(), machine: describe(ctx), runs: o.runs}
	_, r.missing = present(contestants(o))
	if r.floor, err = floor(ctx); err != nil {
		return err
	}
	for _, c := range cases(o) {
		if !slices.Contains(o.cases, c.name) {
			continue
		}
		chapter, err := c.measure(ctx, o, stderr)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		r.chapters = append(r.chapters, chapter)
	}
	text := r.markdown()
	if _, err := io.WriteString(stdout, text); err != nil || o.out == "" {
		return err
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

// measure runs the case in a temporary directory, which it removes.
func (c benchCase) measure(ctx context.Context, o options, progress io.Writer) (_ chapter, err error) {
	parent := o.dir
	if c.big || parent == "" && !roomy(memoryDir, c.room) {
		parent = o.largeDir
	} else if parent == "" {
		parent = memoryDir
	}
	work, err := os.MkdirTemp(parent, "capstan-bench-")
	if err != nil {
		return chapter{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if free, known := room(work); known && free < c.room {
		return chapter{}, fmt.Errorf("%s has room for %v, it takes %v: name another directory with -dir and -large-dir, or smaller sizes", work, free, c.room)
	}
	fmt.Fprintf(progress, "%s: in %s\n", c.name, work)
	began := time.Now()
	s, err := c.run(ctx, lab{options: o, dir: work, progress: progress})
	return chapter{c, s, filesystem(ctx, work), time.Since(began).Seconds()}, err
}

// memoryDir is a filesystem in memory, on Linux.
const memoryDir = "/dev/shm"

// roomy reports whether a directory is there and certainly has room.
func roomy(dir string, size capstan.Bytes) bool {
	free, known := room(dir)
	return known && free > size
}
