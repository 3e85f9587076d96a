package catalog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/catalog"
)

// randomTree makes n entries or a few more, in the order of ComparePaths, with
// names that a careless comparison sorts wrongly.
func randomTree(random *rand.Rand, n int, archive capstan.ArchiveNumber) []capstan.Entry {
	alphabet := []string{"a", "b", "-", ".", " ", "!", "0", "\x01", "\xff", "é", "A", "\n"}
	seen := map[string]bool{}
	dirs := []string{""}
	var entries []capstan.Entry
	for len(entries) < n {
		parent := dirs[random.IntN(len(dirs))]
		name := ""
		for range 1 + random.IntN(3) {
			name += alphabet[random.IntN(len(alphabet))]
		}
		path := capstan.JoinPath(parent, name)
		if name == "." || name == ".." || seen[path] {
			continue
		}
		seen[path] = true
		if random.IntN(3) == 0 {
			dirs = append(dirs, path)
			entries = append(entries, dir(path, archive))
		} else {
			entries = append(entries, file(path, archive))
		}
	}
	slices.SortFunc(entries, func(a, b capstan.Entry) int { return capstan.ComparePaths(a.Path, b.Path) })
	return entries
}

// testWalkOrder compares every reader with the sorted list, over random trees.
func testWalkOrder(t *testing.T, open opener) {
	c := open(t)
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		set := begin(t, c)
		plan(t, c, set.ID)
		entries := randomTree(random, 1+random.IntN(400), 1)
		add(t, c, set.ID, entries...)
		commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
		requirePaths(t, walk(t, c, set.ID, ""), paths(entries)...)
		for range 10 {
			root := entries[random.IntN(len(entries))].Path
			var below, children []capstan.Entry
			for _, e := range entries {
				if capstan.Within(e.Path, root) {
					below = append(below, e)
				}
				if parent, _ := capstan.SplitPath(e.Path); parent == root {
					children = append(children, e)
				}
			}
			requirePaths(t, walk(t, c, set.ID, root), paths(below)...)
			got, err := c.Children(t.Context(), set.ID, root)
			must(t, err)
			requirePaths(t, got, paths(children)...)
		}
	}
}

// testWalkScattered walks sets whose directories came in no order at all, as those
// of a set that was written in several runs: what is read ahead is then mostly of
// directories that are not wanted next.
func testWalkScattered(t *testing.T, open opener) {
	c := open(t)
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 2))
		set := begin(t, c)
		plan(t, c, set.ID)
		entries := randomTree(random, 1500, 1)
		scattered := slices.Clone(entries)
		random.Shuffle(len(scattered), func(i, j int) { scattered[i], scattered[j] = scattered[j], scattered[i] })
		for part := range slices.Chunk(scattered, 100) {
			add(t, c, set.ID, part...)
		}
		commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
		requirePaths(t, walk(t, c, set.ID, ""), paths(entries)...)
	}
}

// testWalkDeepAndWide walks a tree that exceeds what the walk keeps in memory:
// deeper than the kept directories, each with more rows than a page.
func testWalkDeepAndWide(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	plan(t, c, set.ID)
	var entries []capstan.Entry
	path := "top"
	for depth := range 60 {
		entries = append(entries, dir(path, 1))
		width := 3
		if depth%20 == 10 {
			width = 700
		}
		for i := range width {
			entries = append(entries, file(fmt.Sprintf("%s/a%04d", path, i), 1), file(fmt.Sprintf("%s/z%04d", path, i), 1))
		}
		path += "/m"
	}
	slices.SortFunc(entries, func(a, b capstan.Entry) int { return capstan.ComparePaths(a.Path, b.Path) })
	add(t, c, set.ID, entries...)
	commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
	requirePaths(t, walk(t, c, set.ID, ""), paths(entries)...)
	for _, walks := range []int{17, 100, 1 << 20} { // pages of other sizes
		var found []capstan.Entry
		for entry, err := range c.WalkBeside(t.Context(), set.ID, "", walks) {
			must(t, err)
			found = append(found, entry)
		}
		requirePaths(t, found, paths(entries)...)
	}

	n := 0
	for _, err := range c.Walk(t.Context(), set.ID, "") { // a consumer that has enough
		must(t, err)
		if n++; n == 5 {
			break
		}
	}
	for _, err := range c.Walk(t.Context(), set.ID, "nowhere") {
		if !errors.Is(err, capstan.ErrNotFound) {
			t.Errorf("walk of nothing: %v", err)
		}
	}
	deep := strings.Repeat("x/", 2500) + "y" // far beyond PATH_MAX
	add(t, c, set.ID, file(deep, 1))
	requirePaths(t, walk(t, c, set.ID, "x"), deep)
}

func findIn(set capstan.SetID, glob string) catalog.FindQuery {
	return catalog.FindQuery{Glob: glob, Sets: []capstan.SetID{set}}
}

func testFind(t *testing.T, open opener) {
	c := open(t)
	first, second := begin(t, c), begin(t, c)
	names := []string{"data", "data/a.go", "data/b.txt", "data/sub", "data/sub/a.go", "data/sub/a.gox", "data/sub/[x]", "data/sub/\xff.go", "data/sub/sub", "data/sub/sub/a.go", "top.go"}
	for _, set := range []capstan.Set{first, second} {
		plan(t, c, set.ID)
		var entries []capstan.Entry
		for _, name := range names {
			if strings.HasSuffix(name, "data") || strings.HasSuffix(name, "sub") {
				entries = append(entries, dir(name, 1))
			} else {
				entries = append(entries, file(name, 1))
			}
		}
		add(t, c, set.ID, entries...)
		commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
		must(t, c.SetStatus(t.Context(), set.ID, capstan.RunComplete, capstan.Counts{}))
	}
	for _, test := range []struct {
		glob string
		want []string
	}{
		{"a.go", []string{"data/a.go", "data/sub/a.go", "data/sub/sub/a.go"}},
		{"a.*", []string{"data/a.go", "data/sub/a.go", "data/sub/a.gox", "data/sub/sub/a.go"}},
		{"*.go", []string{"top.go", "data/a.go", "data/sub/a.go", "data/sub/\xff.go", "data/sub/sub/a.go"}},
		{"?.go", []string{"data/a.go", "data/sub/a.go", "data/sub/\xff.go", "data/sub/sub/a.go"}},
		{"\xff*", []string{"data/sub/\xff.go"}},
		{`\[x]`, []string{"data/sub/[x]"}},
		{"*[bx]*", []string{"data/b.txt", "data/sub", "data/sub/[x]", "data/sub/a.gox", "data/sub/sub"}},
		{"sub", []string{"data/sub", "data/sub/sub"}},
		{"data/*.go", []string{"data/a.go"}},
		{"data/**/a.go", []string{"data/a.go", "data/sub/a.go", "data/sub/sub/a.go"}},
		{"**/sub", []string{"data/sub", "data/sub/sub"}},
		{"data/sub/**", []string{"data/sub", "data/sub/[x]", "data/sub/a.go", "data/sub/a.gox", "data/sub/sub", "data/sub/sub/a.go", "data/sub/\xff.go"}},
		{"nowhere/**", nil},
		{"*.none", nil},
		{"none*", nil},
	} {
		var got []capstan.Entry
		for found, err := range c.Find(t.Context(), findIn(first.ID, test.glob)) {
			must(t, err)
			got = append(got, found.Entry)
		}
		if !slices.Equal(paths(got), test.want) {
			t.Errorf("find %q: %q, want %q", test.glob, paths(got), test.want)
		}
	}
	var sets []capstan.SetID
	for found, err := range c.Find(t.Context(), catalog.FindQuery{Glob: "top.go"}) {
		must(t, err)
		sets = append(sets, found.Set)
	}
	if !slices.Equal(sets, []capstan.SetID{second.ID, first.ID}) {
		t.Errorf("found in %q, want the newest set first", sets)
	}
	n := 0
	for _, err := range c.Find(t.Context(), catalog.FindQuery{Glob: "*", Limit: 3}) {
		must(t, err)
		n++
	}
	if n != 3 {
		t.Errorf("%d found, the limit was 3", n)
	}
	for _, bad := range []string{"", "/", "a[", `a\`, "x/[a", "[]"} {
		for _, err := range c.Find(t.Context(), catalog.FindQuery{Glob: bad}) {
			if !errors.Is(err, capstan.ErrUsage) {
				t.Errorf("pattern %q: %v", bad, err)
			}
		}
	}
}
