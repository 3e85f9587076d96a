package pipeline

import (
	"slices"
	"testing"
)

func TestSelectionMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"data", "data", true},
		{"data", "data/a/b", true},
		{"data/", "data/a", true},
		{"data", "database", false},
		{"data/*.txt", "data/a.txt", true},
		{"data/*.txt", "data/sub/a.txt", false},
		{"data/*.txt", "data/a.txt/below", true},
		{"data/**/a.txt", "data/a.txt", true},
		{"data/**/a.txt", "data/x/y/a.txt", true},
		{"**/*.go", "src/a/b.go", true},
		{"data/[ab]", "data/b", true},
		{"data/[ab]", "data/c", false},
		{"data/a[b", "data/a[b", true},
		{"data/?", "data/", false},
	} {
		want, err := newSelection([]string{c.pattern})
		if err != nil {
			t.Fatal(err)
		}
		if got := want.matches(c.path); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
}

func TestSelectionNamesWhatFoundNothing(t *testing.T) {
	t.Parallel()
	want, err := newSelection([]string{"data/a", "data/b*", "gone"})
	if err != nil {
		t.Fatal(err)
	}
	want.matches("data/a/x")
	want.matches("data/bcd")
	if got := want.missing(); !slices.Equal(got, []string{"gone"}) {
		t.Errorf("missing %q", got)
	}
}

func TestSelectionRefusesPathsOutside(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"..", "../x", ".", "a/../.."} {
		if _, err := newSelection([]string{pattern}); err == nil {
			t.Errorf("%q was accepted", pattern)
		}
	}
}
