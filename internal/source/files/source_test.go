package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dangling := filepath.Join(dir, "dangling")
	must(t, os.Symlink("nowhere", dangling))
	cases := []struct {
		name, path string
		opt        Options
		class      error
		says       string
	}{
		{"nothing there", filepath.Join(dir, "none"), Options{}, nil, filepath.Join(dir, "none") + ": no such file or directory"},
		{"below a file", "/etc/passwd/x", Options{}, nil, "not a directory"},
		{"dangling link", dangling, Options{}, nil, "symbolic link to nowhere"},
		{"no path", "", Options{}, capstan.ErrUsage, "empty"},
		{"bad name", dir, Options{Name: "a/b"}, capstan.ErrUsage, `"a/b"`},
		{"dots", dir, Options{Name: ".."}, capstan.ErrUsage, `".."`},
		{"bad pattern", dir, Options{Excludes: []string{"ok", "a[b"}}, capstan.ErrUsage, `"a[b"`},
	}
	for _, c := range cases {
		_, err := New(c.path, c.opt)
		var told *capstan.Error
		if !errors.As(err, &told) || !errors.Is(told.Class, c.class) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestNames(t *testing.T) {
	root := tree(t, map[string]string{"sub/": ""})
	link := filepath.Join(filepath.Dir(root), "link")
	must(t, os.Symlink("data", link))
	t.Chdir(root)
	cases := []struct{ path, opt, name, spec string }{
		{root, "", "data", root},
		{root + "/", "", "data", root},
		{root + "/sub/..", "", "data", root},
		{".", "", "data", root},
		{"sub", "", "sub", root + "/sub"},
		{"..", "", filepath.Base(filepath.Dir(root)), filepath.Dir(root)},
		{link, "", "link", link},
		{root, "other", "other", root},
		{"/", "", "root", "/"},
	}
	for _, c := range cases {
		s := open(t, c.path, Options{Name: c.opt})
		if s.Name() != c.name || s.Spec() != c.spec {
			t.Errorf("%s: name %q, spec %q", c.path, s.Name(), s.Spec())
		}
	}
}

func TestNamedSource(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a": "1", "sub/b": "2"})
	all := collect(t, open(t, root, Options{Name: "other"}), nil)
	wantOutcomes(t, all, "other stored", "other/a stored", "other/sub stored", "other/sub/b stored")
	if host := byPath(t, all, "other/sub/b").Host; host != root+"/sub/b" {
		t.Errorf("host %q", host)
	}
	if host := byPath(t, all, "other").Host; host != root {
		t.Errorf("host %q", host)
	}
}

// The order is that of components, so "a/x" stands before "a-b".
func TestOrder(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a/x": "", "a-b": "", "a.c/y": "", "B": "", "a/x.d/z": "", "é": "", "~": ""})
	all := collect(t, open(t, root, Options{}), nil)
	wantOutcomes(t, all, "data stored", "data/B stored", "data/a stored", "data/a/x stored", "data/a/x.d stored", "data/a/x.d/z stored",
		"data/a-b stored", "data/a.c stored", "data/a.c/y stored", "data/~ stored", "data/é stored")
}

func TestEmptyDirectory(t *testing.T) {
	t.Parallel()
	wantOutcomes(t, collect(t, open(t, tree(t, nil), Options{}), nil), "data stored")
}

func TestExcludes(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"keep.o": "", "x.o": "", "build/a": "", "build/b/c": "", "src/build/d": "", "src/x.o": "", "top": "", "src/top": "",
	})
	s := open(t, root, Options{Excludes: []string{"# objects", "*.o", "!keep.o", "/build/", "", "/top"}})
	all := collect(t, s, nil)
	wantOutcomes(t, all, "data stored", "data/build excluded", "data/keep.o stored", "data/src stored", "data/src/build stored",
		"data/src/build/d stored", "data/src/top stored", "data/src/x.o excluded", "data/top excluded", "data/x.o excluded")
	if g := byPath(t, all, "data/build"); g.Reason != `pattern "/build/"` || g.Kind != capstan.KindDir {
		t.Errorf("%s: %s", g.Kind, g.Reason)
	}
}

func TestCacheDirs(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"c/CACHEDIR.TAG": cacheSignature + "\n# a cache", "c/junk": "x", "c/deep/er": "x",
		"no/CACHEDIR.TAG": "Signature: something else that is long enough", "no/kept": "x",
	})
	all := collect(t, open(t, root, Options{IgnoreCacheDirs: true}), nil)
	wantOutcomes(t, all, "data stored", "data/c stored", "data/c/CACHEDIR.TAG stored", "data/c/deep excluded", "data/c/junk excluded",
		"data/no stored", "data/no/CACHEDIR.TAG stored", "data/no/kept stored")
	if g := byPath(t, all, "data/c/junk"); !strings.Contains(g.Reason, "CACHEDIR.TAG") {
		t.Error(g.Reason)
	}
	if all := collect(t, open(t, root, Options{}), nil); len(all) != 9 {
		t.Errorf("without the option: %v", outcomes(all))
	}
}

// Names of directories around the first component are not part of patterns.
func TestExcludesAreRooted(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"data/x": "", "x": ""})
	all := collect(t, open(t, root, Options{Excludes: []string{"data/x"}}), nil)
	wantOutcomes(t, all, "data stored", "data/data stored", "data/data/x excluded", "data/x stored")
}
