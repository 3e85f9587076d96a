package main

import (
	"context"
	"io"
	"path/filepath"
	"slices"

	"capstan"
)

// benchCase is one measurement.
type benchCase struct {
	name string
	what string // for the report
	room capstan.Bytes
	big  bool // it works where large files have room
	run  func(ctx context.Context, l lab) (section, error)
}

// lab is what a case works with: a directory of its own, which is empty.
type lab struct {
	options
	dir      string
	progress io.Writer
}

// section is what a case came to.
type section struct {
	data   string // what was measured on
	tables []string
	goals  []goal
}

func caseNames() []string {
	return []string{"tree", "disk", "tenfold", "large", "random", "tiny", "again", "single", "catalog", "pgbalanced", "pglarge", "pg15", "pgtables", "pgalter"}
}

// cases gives them in the order of caseNames.
func cases(o options) []benchCase {
	return append([]benchCase{
		{
			name: "tree", what: "real files: copies from /usr/share, the Go tree, the module cache and /usr/lib",
			room: 4 * o.tree, run: rivalry{restore: true, make: makeTree, goals: treeGoals}.run,
		},
		{
			name: "disk", what: "the same tree on a disk", big: true,
			room: 4 * o.tree, run: rivalry{restore: true, among: []string{tarZstd, ours}, make: makeTree, goals: diskGoals}.run,
		},
		{
			name: "tenfold", what: "the tree ten times, as ten sources", big: true,
			room: 12 * o.tree, run: tenfold,
		},
		{
			name: "large", what: "one large file of log lines", big: true, room: 3 * o.large,
			run: rivalry{among: []string{zstdAlone, ours}, goals: largeGoals, make: func(ctx context.Context, l lab, dir string) error {
				return writeLog(ctx, filepath.Join(dir, "large.log"), l.large)
			}}.run,
		},
		{
			name: "random", what: "one large file that does not compress", big: true, room: 3 * o.random,
			run: rivalry{among: []string{zstdAlone, ours}, goals: largeGoals, make: func(ctx context.Context, l lab, dir string) error {
				return writeRandom(ctx, filepath.Join(dir, "random.bin"), l.random)
			}}.run,
		},
		{
			name: "tiny", what: "tiny files, 1,000 a directory",
			run: rivalry{make: func(ctx context.Context, l lab, dir string) error { return writeTiny(ctx, dir, l.tiny) }}.run,
		},
		{name: "again", what: "the tree once more, with nothing changed", room: 4 * o.tree, run: again},
		{name: "single", what: "one file out of a large archive", big: true, room: 5 * o.archive, run: single1},
		{name: "catalog", what: "a catalog of many entries", room: 200 * capstan.Bytes(o.entries), run: largeCatalog},
	}, postgresCases(o)...)
}

func makeTree(ctx context.Context, l lab, dir string) error {
	return collectTree(ctx, dir, treeRoots(ctx), l.tree)
}

// contestants are those of the names that are asked for and here; of none named, the
// ones that take part in everything.
func (l lab) contestants(names []string) []contestant {
	here, _ := present(contestants(l.options))
	return slices.DeleteFunc(here, func(c contestant) bool {
		if len(names) == 0 {
			return c.rare
		}
		return !slices.Contains(names, c.name)
	})
}
