package tree

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"capstan"
)

// TestLeftovers restores beside what earlier restores left: what a process left that
// is gone is removed, all else stays.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dead := exec.CommandContext(t.Context(), "true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	mark, here := tempMark()
	parts := strings.Split(strings.TrimPrefix(mark, tempPrefix), "-")
	name := func(change func(parts []string)) string {
		own := slices.Clone(parts)
		change(own)
		return tempPrefix + strings.Join(own, "-") + "1"
	}
	gone := []string{
		name(func(p []string) { p[3] = strconv.Itoa(dead.Process.Pid) }),
		name(func(p []string) { p[4] = "1" }),        // another process had our number
		name(func(p []string) { p[1] = "00000000" }), // before the machine was started
	}
	stay := []string{
		name(func([]string) {}), // another restore of this process
		name(func(p []string) { p[0], p[1] = "00000000", "00000000" }), // of another machine
		tempPrefix + "notes", tempPrefix + "0123456789abcdef-1", "file",
	}
	for _, at := range []string{"", "d"} {
		if err := os.MkdirAll(filepath.Join(dir, at), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Concat(gone, stay) {
			if err := os.WriteFile(filepath.Join(dir, at, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(dir, at, gone[0]+"x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tree := open(t, dir, Options{Overwrite: true})
	if tree.here != here || tree.tempBase == mark {
		t.Errorf("%+v, %s", tree.here, tree.tempBase)
	}
	for _, path := range []string{"d/file", "file"} {
		e := capstan.Entry{Path: path, Kind: capstan.KindFile, Mode: 0o644}
		if err := tree.Place(t.Context(), path, &e, strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(stay)
	for _, at := range []string{"", "d"} {
		var left []string
		entries, err := os.ReadDir(filepath.Join(dir, at))
		for _, entry := range entries {
			if entry.Name() != "d" {
				left = append(left, entry.Name())
			}
		}
		if err != nil || !slices.Equal(left, stay) {
			t.Errorf("in %q are %q, want %q (%v)", at, left, stay, err)
		}
	}
}
