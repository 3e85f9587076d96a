package files

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"capstan"
)

// linkTree has a, d/b and z as names of one file, and alone.
func linkTree(t *testing.T) string {
	t.Helper()
	root := tree(t, map[string]string{"a": "content", "alone": "", "d/": ""})
	must(t, os.Link(filepath.Join(root, "a"), filepath.Join(root, "d/b")))
	must(t, os.Link(filepath.Join(root, "a"), filepath.Join(root, "z")))
	return root
}

// links gives "path outcome kind link" for the names of linkTree's file.
func links(all []got) string {
	text := ""
	for _, g := range all {
		if g.Kind == capstan.KindDir || g.Path == "data/alone" {
			continue
		}
		text += fmt.Sprintf("%s %s", g.Path, g.Outcome)
		if g.Kind == capstan.KindHardlink {
			text += " = " + g.Link
		} else if g.content != nil {
			text += " with content"
		}
		text += "; "
	}
	return text
}

func TestLinks(t *testing.T) {
	t.Parallel()
	const whole = "data/a stored with content; data/d/b stored = data/a; data/z stored = data/a; "
	cases := []struct {
		name   string
		change func(t *testing.T, root string, baseline *kept)
		same   bool // the baseline is the set being written
		opt    Options
		want   string
	}{
		{
			"nothing changed", func(*testing.T, string, *kept) {},
			false,
			Options{},
			"data/a unchanged; data/d/b unchanged = data/a; data/z unchanged = data/a; ",
		},
		{"written through another name", func(t *testing.T, root string, _ *kept) {
			write(t, root+"/z", "changed")
		}, false, Options{}, whole},
		{"first name removed", func(t *testing.T, root string, _ *kept) {
			must(t, os.Remove(root+"/a"))
		}, false, Options{}, "data/a deleted; data/d/b stored with content; data/z stored = data/d/b; "},
		{"earlier name added", func(t *testing.T, root string, _ *kept) {
			must(t, os.Link(root+"/z", root+"/0"))
		}, false, Options{}, "data/0 stored with content; data/a stored = data/0; data/d/b stored = data/0; data/z stored = data/0; "},
		// The change time of the file shows none of the following.
		{"first name not held", func(_ *testing.T, _ string, baseline *kept) {
			baseline.forget("data/a")
		}, false, Options{}, whole},
		{
			"first name excluded", func(*testing.T, string, *kept) {},
			false,
			Options{Excludes: []string{"/a"}},
			"data/a excluded; data/d/b stored with content; data/z stored = data/d/b; ",
		},
		{
			"a link not held",
			func(_ *testing.T, _ string, baseline *kept) {
				baseline.forget("data/d/b")
			},
			false,
			Options{},
			"data/a unchanged; data/d/b stored with content; data/z stored = data/d/b; ",
		},
		{
			"a link not held by the same set",
			func(_ *testing.T, _ string, baseline *kept) {
				baseline.forget("data/d/b")
			},
			true,
			Options{},
			"data/a unchanged; data/d/b stored = data/a; data/z unchanged = data/a; ",
		},
		{
			"the last link not held",
			func(_ *testing.T, _ string, baseline *kept) {
				baseline.forget("data/z")
			},
			false,
			Options{},
			"data/a unchanged; data/d/b unchanged = data/a; data/z stored with content; ",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := linkTree(t)
			first := collect(t, open(t, root, Options{}), nil)
			if links(first) != whole {
				t.Fatalf("first scan: %s", links(first))
			}
			baseline := keep(first)
			if !c.same {
				baseline.earlier()
			}
			c.change(t, root, baseline)
			if all := collect(t, open(t, root, c.opt), baseline); links(all) != c.want {
				t.Errorf("\ngot  %s\nwant %s", links(all), c.want)
			}
		})
	}
}

// Readers come to the names in any order; the first in order holds the content
// all the same, and what later names have read is let go.
func TestManyLinks(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, smallContent + 10} {
		root := tree(t, nil)
		for i := range 40 {
			name := filepath.Join(root, fmt.Sprintf("d0/%03d", i))
			write(t, name, fmt.Sprintf("%0*d", size, i))
			for j := 1; j < 12; j++ {
				must(t, os.MkdirAll(filepath.Join(root, fmt.Sprintf("d%d", j)), 0o755))
				must(t, os.Link(name, filepath.Join(root, fmt.Sprintf("d%d/%03d", j, i))))
			}
		}
		held := 0
		for _, g := range collect(t, open(t, root, Options{Readers: 8}), nil) {
			switch {
			case g.Kind == capstan.KindFile && g.Path[:8] == "data/d0/" && len(g.content) == size:
				held++
			case g.Kind == capstan.KindDir:
			case g.Kind != capstan.KindHardlink || g.Link[:8] != "data/d0/" || g.Link[8:] != g.Path[len(g.Path)-3:]:
				t.Errorf("%s: %s to %q", g.Path, g.Kind, g.Link)
			}
		}
		if held != 40 {
			t.Errorf("%d contents", held)
		}
	}
}

// A file is forgotten once all its names were seen.
func TestLinkTableForgets(t *testing.T) {
	t.Parallel()
	table := linkTable{files: map[inode]*linkedFile{}}
	for i := range 3 {
		it := &item{seq: int64(i)}
		it.out.Entry = capstan.Entry{Path: fmt.Sprint(i), Kind: capstan.KindFile, Dev: 1, Ino: 2, Links: 3, Outcome: capstan.OutcomeStored}
		table.claim(inode{1, 2}, it.seq)
		as, first := table.decide(it)
		if i == 0 && as != asContent || i > 0 && (as != asLink || first != "0") {
			t.Errorf("name %d: %d %s", i, as, first)
		}
	}
	if len(table.files) != 0 {
		t.Error("the file is not forgotten")
	}
}

// Where the first name cannot be opened, the next one holds the content, though
// no reader has read it.
func TestLinkWithoutHolder(t *testing.T) {
	t.Parallel()
	table := linkTable{files: map[inode]*linkedFile{}}
	id := inode{1, 2}
	if !table.claim(id, 1) || table.claim(id, 2) || table.claim(id, 3) {
		t.Fatal("only the first name is worth reading")
	}
	second := &item{seq: 2, unread: true}
	second.out.Entry = capstan.Entry{Path: "b", Kind: capstan.KindFile, Dev: 1, Ino: 2, Links: 3, Outcome: capstan.OutcomeStored}
	if as, _ := table.decide(second); as != asContent {
		t.Errorf("the second name is to come as %d", as)
	}
	second.unread = false // as after a rescue
	if as, _ := table.decide(second); as != asContent {
		t.Errorf("the second name is to come as %d", as)
	}
	third := &item{seq: 3, unread: true}
	third.out.Entry = second.out.Entry
	if as, first := table.decide(third); as != asLink || first != "b" {
		t.Errorf("the third name is to come as %d of %q", as, first)
	}
}
