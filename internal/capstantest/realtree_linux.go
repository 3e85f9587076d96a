package capstantest

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// RealTree copies about n real files (fewer if the machine has not so many),
// with their directories, symlinks and hard links, into a new directory and
// gives that: documentation, shared libraries, Go sources. cp makes the copy.
func RealTree(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	goroot := output(tb, "go", "env", "GOROOT")
	roots := []string{"/usr/share", filepath.Join(strings.TrimSpace(goroot), "src"), "/usr/lib"}
	left := n
	for i, root := range roots {
		files := collect(root, left/(len(roots)-i))
		left -= len(files)
		for batch := range slices.Chunk(files, 500) {
			output(tb, "cp", append([]string{"-a", "--parents", "-t", dir, "--"}, batch...)...)
		}
	}
	if left == n {
		tb.Fatal("real tree: no files found")
	}
	return dir
}

// output runs a stock tool in the root directory, from which cp gets relative
// names: with absolute ones it does not find its own directories again.
func output(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...) //nolint:forbidigo // a test kit, which may not depend on what it tests
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("real tree: %s: %v\n%s", name, err, out)
	}
	return string(out)
}

// collect gives up to n files and symlinks below root that can be read.
func collect(root string, n int) []string {
	var files []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case len(files) >= n:
			return fs.SkipAll
		case err != nil:
			return nil //nolint:nilerr // what cannot be listed is not copied
		case d.Type() == fs.ModeSymlink || d.Type().IsRegular() && unix.Access(path, unix.R_OK) == nil:
			files = append(files, strings.TrimPrefix(path, "/"))
		}
		return nil
	})
	return files
}
