package catalog

import (
	"path"
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		glob, path string
		want       bool
	}{
		{"*", "a/b", true},
		{"a", "x/a", true},
		{"a", "ab", false},
		{"a*c", "abcbc", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "acb", false},
		{"?", "é", true},
		{"?", "\xff", true},
		{"??", "é", false},
		{"[à-ü]", "é", true},
		{"[!à-ü]", "é", false},
		{"[^a]", "b", true},
		{"[]a]", "]", true},
		{"[]a]", "a", true},
		{"[a-]", "-", true},
		{`[\]]`, "]", true},
		{`[a\-z]`, "m", false},
		{"[\xfe-\xff]", "\xff", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{"[é", "é", false},
		{"a/*", "a/b", true},
		{"a/*", "a/b/c", false},
		{"a/*", "x/a/b", false},
		{"/a/*/", "a/b", true},
		{"**", "a/b/c", true},
		{"a/**", "a", true},
		{"a/**", "a/b/c", true},
		{"a/**", "ab", false},
		{"**/c", "c", true},
		{"**/c", "a/b/c", true},
		{"a/**/c", "a/c", true},
		{"a/**/c", "a/b/b/c", true},
		{"a/**/c", "a/b/cc", false},
		{"a/**/b/**/c", "a/b/x/b/y/c", true},
		{"**/b/c", "b/b/c", true},
		{"**/a/**/b", "x/a/y/a/b", true},
		{"**/x", "a/b", false},
		{"a/**/b/*", "a/x/b/c/b/d", true},
	} {
		g, err := parseGlob(test.glob)
		if err != nil {
			if test.want {
				t.Errorf("%q: %v", test.glob, err)
			}
			continue
		}
		if got := g.match(test.path); got != test.want {
			t.Errorf("%q matches %q: %t, want %t", test.glob, test.path, got, test.want)
		}
	}
}

// slowMatch says what matchParts means, without care for time.
func slowMatch(parts, names []string) bool {
	if len(parts) == 0 {
		return len(names) == 0
	}
	if parts[0] == "**" {
		return slowMatch(parts[1:], names) || (len(names) > 0 && slowMatch(parts, names[1:]))
	}
	return len(names) > 0 && matchPart(parts[0], names[0]) && slowMatch(parts[1:], names[1:])
}

// FuzzGlob compares with path.Match, which means the same within a component
// but for *-free limits of its own, and with the plain recursive definition.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"a*b", "ab"}, {"**/a/**/b", "a/b/a"}, {"[a-c]?\\*", "bx*"}, {"[", "x"}, {"a/**", "a"}, {"*[!x]*", "xyx"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, err := parseGlob(pattern)
		if err != nil || len(pattern) > 40 || len(name) > 40 || !validPath(name) {
			return
		}
		got := g.match(name)
		if g.whole {
			if want := slowMatch(g.parts, strings.Split(name, "/")); got != want {
				t.Fatalf("%q matches %q: %t, the definition says %t", pattern, name, got, want)
			}
			return
		}
		_, last, _ := cutLast(name)
		if start, whole := prefix(g.parts[0]); got && (!strings.HasPrefix(last, start) || (whole && last != start)) {
			t.Fatalf("%q matches %q, but its prefix is %q", pattern, last, start)
		}
		if end := suffix(g.parts[0]); got && !strings.HasSuffix(last, end) {
			t.Fatalf("%q matches %q, but its suffix is %q", pattern, last, end)
		}
		if !plain(pattern) || !plain(name) {
			return
		}
		if want, err := path.Match(g.parts[0], last); err == nil && want != got {
			t.Fatalf("%q matches %q: %t, path.Match says %t", pattern, last, got, want)
		}
	})
}

func cutLast(name string) (string, string, bool) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:], true
	}
	return "", name, false
}

// plain leaves out what path.Match means differently: [!a], a ] or - that stands
// for itself in a class, and bytes that are no UTF-8.
func plain(s string) bool {
	for _, c := range s {
		if c > 126 {
			return false
		}
	}
	return !strings.Contains(s, "[!") && !strings.Contains(s, "[]") && !strings.Contains(s, "[^]") && !strings.Contains(s, "-") && !strings.Contains(s, `\`)
}
