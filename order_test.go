package capstan_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"capstan"
)

func TestComparePathsKeepsTreesTogether(t *testing.T) {
	t.Parallel()
	want := []string{"a", "a/b", "a/b/c", "a/b-c", "a/c", "a b", "a-b", "a.b", "a\xff", "b"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, capstan.ComparePaths)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzComparePaths(f *testing.F) {
	f.Add("a/b", "a-b")
	f.Add("", "/")
	f.Fuzz(func(t *testing.T, a, b string) {
		want := slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
		if a == "" && b != "" {
			want = -1
		}
		if b == "" && a != "" {
			want = 1
		}
		if strings.Contains(a+b, "//") || strings.HasPrefix(a, "/") || strings.HasPrefix(b, "/") {
			return // no relative path
		}
		if got := capstan.ComparePaths(a, b); cmp.Compare(got, 0) != want {
			t.Errorf("ComparePaths(%q, %q) = %d, component order says %d", a, b, got, want)
		}
	})
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"a/b", "a", true}, {"a", "a", true}, {"ab", "a", false}, {"a-b", "a", false}, {"x", "", true}, {"a", "a/b", false},
	} {
		if got := capstan.Within(c.path, c.dir); got != c.want {
			t.Errorf("Within(%q, %q) = %v", c.path, c.dir, got)
		}
	}
}
