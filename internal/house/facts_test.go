package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// platform is one of those that the product is built for. Imports and files
// differ between them through build constraints.
type platform struct{ goos, goarch, cgo string }

var platforms = []platform{
	{"linux", "amd64", "1"},
	{"linux", "amd64", "0"},
	{"darwin", "arm64", "0"},
	{"windows", "amd64", "0"},
}

func (p platform) String() string { return p.goos + "-" + p.goarch + "-cgo" + p.cgo }

// goPackage is what `go list -json` tells of a package.
type goPackage struct {
	ImportPath   string
	Name         string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Error        *struct{ Err string }
}

// listPackages gives the packages of the module as they are on a platform. A
// package that the platform leaves out wholly is there without imports.
func listPackages(t *testing.T, p platform) []goPackage {
	t.Helper()
	// -e: a neighbour that does not compile must not hide a breach.
	command := exec.CommandContext(t.Context(), "go", "list", "-e",
		"-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports,Error", "./...")
	command.Dir = top
	command.Env = append(os.Environ(), "GOOS="+p.goos, "GOARCH="+p.goarch, "CGO_ENABLED="+p.cgo)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v%s", err, stderr(err))
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg goPackage
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, pkg)
	}
}

// top is the repository's directory, seen from the package's own.
const top = "../.."

// listFiles names every file of the repository, tracked or about to be, with
// slashes and relative to top.
func listFiles(t *testing.T) []string {
	t.Helper()
	// safe.directory: in a container the clone often belongs to another user.
	command := exec.CommandContext(t.Context(), "git", "-c", "safe.directory=*",
		"ls-files", "-z", "--cached", "--others", "--exclude-standard")
	command.Dir = top
	out, err := command.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v%s", err, stderr(err))
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		info, err := os.Lstat(filepath.Join(top, name))
		if err == nil && info.Mode().IsRegular() { // deleted, but not yet in a commit: no file
			files = append(files, name)
		}
	}
	if len(files) < 10 {
		t.Fatalf("git names %d files: the rule looks at the wrong place", len(files))
	}
	return files
}

// stderr gives what a failed command said, on a line of its own.
func stderr(err error) string {
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return "\n" + string(failed.Stderr)
	}
	return ""
}
