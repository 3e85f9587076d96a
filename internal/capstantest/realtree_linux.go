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
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Fatalf("real tree: go env: %v", err)
	}
	roots := []string{"/usr/share", filepath.Join(strings.TrimSpace(string(goroot)), "src"), "/usr/lib"}
	left := n
	for i, root := range roots {
		files := collect(root, left/(len(roots)-i))
		left -= len(files)
		for batch := range slices.Chunk(files, 500) {
			// Relative names: with absolute ones cp does not find its own directories again.
			cp := exec.Command("cp", append([]string{"-a", "--parents", "-t", dir, "--"}, batch...)...)
			cp.Dir = "/"
			if out, err := cp.CombinedOutput(); err != nil {
				tb.Fatalf("real tree: cp: %v\n%s", err, out)
			}
		}
	}
	if left == n {
		tb.Fatal("real tree: no files found")
	}
	return dir
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
