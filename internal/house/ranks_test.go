package house

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const module = "capstan"

// The two ends of the house: the root package, and the packages that test files
// alone may import.
const (
	rootRank = 0
	testOnly = "internal/capstantest"
)

// suites are for test files alone too, and stand above the packages that they judge
// instead of beside the root.
var suites = []string{"internal/drive/drivetest", "internal/drive/tcmu"}

// ranks is the house, read downwards along the path of a byte. A package
// imports packages of lower ranks only; two of the same rank meet through the
// interfaces of the root. A row may name packages that are still to come.
var ranks = map[int][]string{
	10:       {"cmd/capstan"},
	9:        {"internal/cli"},
	8:        {"internal/daemon"},
	7:        {"internal/server", "internal/agent"},
	6:        {"internal/job", "internal/auth", "internal/client"},
	5:        {"internal/pipeline", "internal/rotation", "internal/dumpall"},
	4:        {"internal/media", "internal/pgdrill", "internal/copier", "internal/doctor", "internal/source/dumps"},
	3:        {"internal/source/files", "internal/source/sets", "internal/source/postgres", "internal/source/bucket", "internal/target/tree", "internal/stage", "internal/volume/dir", "internal/volume/bucket", "internal/volume/tape", "internal/catalog", "internal/pgserver", "internal/pgscratch", "internal/pglock", "internal/notify", "internal/hook", "internal/target/postgres", "internal/drive/drivetest", "internal/drive/tcmu"},
	2:        {"internal/archive", "internal/manifest", "internal/envelope", "internal/drive/emulator", "internal/drive/st", "internal/pg", "internal/pgslot", "internal/config", "internal/pgproxy", "internal/pgcopy", "internal/pgdump"},
	1:        {"internal/progress", "internal/output", "internal/process", "internal/machine", "internal/disk", "internal/codec", "internal/digest", "internal/tarfile", "internal/policy", "internal/pgdata", "internal/pgtoc", "internal/copytext", "internal/rowsum", "internal/drive", testOnly},
	rootRank: {"."},
}

// outside are the packages that are no part of the product: programs for the
// people who work on it, and these rules. They may import the root package, and
// nobody imports them.
var outside = []string{"bench", "scripts/noskip", "internal/house"}

func TestImportsGoToLowerRanks(t *testing.T) {
	t.Parallel()
	for _, platform := range platforms {
		t.Run(platform.String(), func(t *testing.T) {
			t.Parallel()
			packages := listPackages(t, platform)
			if len(packages) < 5 {
				t.Fatalf("go list found %d packages: the rule looks at the wrong place", len(packages))
			}
			for _, breach := range rankBreaches(packages) {
				t.Error(breach)
			}
		})
	}
}

func TestRankRuleSeesBreaches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		pkg  goPackage
		want string // part of the one breach; empty: none
	}{
		{"downwards", goPackage{ImportPath: "capstan/internal/pipeline", Imports: []string{"capstan", "capstan/internal/archive", "github.com/x/y", "io"}}, ""},
		{"upwards", goPackage{ImportPath: "capstan/internal/archive", Imports: []string{"capstan/internal/pipeline"}}, "rank 2 imports"},
		{"sideways", goPackage{ImportPath: "capstan/internal/catalog", Imports: []string{"capstan/internal/volume/dir"}}, "rank 3 imports"},
		{"not in the table", goPackage{ImportPath: "capstan/internal/novel"}, "has no rank"},
		{"below a package of the table", goPackage{ImportPath: "capstan/internal/archive/novel"}, "has no rank"},
		{"imports what is not in the table", goPackage{ImportPath: "capstan/internal/cli", Imports: []string{"capstan/internal/novel"}}, "has no rank"},
		{"root with a dependency", goPackage{ImportPath: "capstan", Imports: []string{"golang.org/x/sys/unix"}}, "standard library only"},
		{"root with a part of the house", goPackage{ImportPath: "capstan", Imports: []string{"capstan/internal/codec"}}, "standard library only"},
		{"root", goPackage{ImportPath: "capstan", Imports: []string{"context", "encoding/json"}}, ""},
		{"fakes in the product", goPackage{ImportPath: "capstan/internal/cli", Imports: []string{"capstan/internal/capstantest"}}, "only test files"},
		{"fakes in tests", goPackage{ImportPath: "capstan/internal/cli", TestImports: []string{"capstan/internal/capstantest"}, XTestImports: []string{"capstan/internal/capstantest"}}, ""},
		{"suite below the fakes", goPackage{ImportPath: "capstan/internal/capstantest/suite", Imports: []string{"capstan", "capstan/internal/capstantest"}}, ""},
		{"fakes that know the house", goPackage{ImportPath: "capstan/internal/capstantest", Imports: []string{"capstan/internal/disk"}}, "rank 1 imports"},
		{"suite of a package", goPackage{ImportPath: "capstan/internal/drive/drivetest", Imports: []string{"capstan/internal/drive/emulator"}}, ""},
		{"suite in the product", goPackage{ImportPath: "capstan/internal/media", Imports: []string{"capstan/internal/drive/drivetest"}}, "only test files"},
		{"program outside", goPackage{ImportPath: "capstan/bench", Imports: []string{"capstan", "os/exec"}}, ""},
		{"program outside that reaches in", goPackage{ImportPath: "capstan/bench", Imports: []string{"capstan/internal/disk"}}, "root package alone"},
		{"import of a program outside", goPackage{ImportPath: "capstan/cmd/capstan", Imports: []string{"capstan/bench"}}, "nobody imports"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			breaches := rankBreaches([]goPackage{test.pkg})
			if test.want == "" && len(breaches) > 0 {
				t.Errorf("breaches %q, want none", breaches)
			}
			if test.want != "" && (len(breaches) != 1 || !strings.Contains(breaches[0], test.want)) {
				t.Errorf("breaches %q, want one with %q", breaches, test.want)
			}
		})
	}
}

// rankBreaches names every import that the ranks forbid.
func rankBreaches(packages []goPackage) []string {
	var breaches []string
	for _, pkg := range packages {
		name := relative(pkg.ImportPath)
		from, known := rankOf(name)
		if !known && !slices.Contains(outside, name) {
			breaches = append(breaches, fmt.Sprintf("%s has no rank: add it to the table in ranks_test.go", name))
			continue
		}
		for _, imported := range pkg.Imports {
			if breach := importBreach(name, from, imported); breach != "" {
				breaches = append(breaches, breach)
			}
		}
	}
	return breaches
}

// importBreach judges one import of a package of rank from; it gives the empty
// string for one that is allowed.
func importBreach(name string, from int, imported string) string {
	if name == "." {
		if isStandard(imported) {
			return ""
		}
		return fmt.Sprintf("the root package imports %s: it takes the standard library only", imported)
	}
	if !ours(imported) {
		return ""
	}
	target := relative(imported)
	to, known := rankOf(target)
	switch {
	case slices.Contains(outside, name):
		if target != "." {
			return fmt.Sprintf("%s imports %s: what stands outside takes the root package alone", name, target)
		}
	case slices.Contains(outside, target):
		return fmt.Sprintf("%s imports %s: nobody imports what stands outside", name, target)
	case !known:
		return fmt.Sprintf("%s imports %s, which has no rank", name, target)
	case isTestOnly(target) && !isTestOnly(name):
		return fmt.Sprintf("%s imports %s: only test files may", name, target)
	case to >= from && (!isTestOnly(target) || !isTestOnly(name)):
		return fmt.Sprintf("%s of rank %d imports %s of rank %d: imports go to lower ranks", name, from, target, to)
	}
	return ""
}

// rankOf gives the rank of a package of the module; a part of capstantest has
// the rank of the whole.
func rankOf(name string) (rank int, known bool) {
	if name == testOnly || strings.HasPrefix(name, testOnly+"/") {
		name = testOnly
	}
	for rank, names := range ranks {
		if slices.Contains(names, name) {
			return rank, true
		}
	}
	return 0, false
}

func isTestOnly(name string) bool {
	return name == testOnly || strings.HasPrefix(name, testOnly+"/") || slices.Contains(suites, name)
}

// ours reports whether an import path lies in the module.
func ours(path string) bool {
	return path == module || strings.HasPrefix(path, module+"/")
}

// relative takes the module off an import path; the root package is ".".
func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

// isStandard reports whether an import path is of the standard library: alone
// its first element has no dot, and it is not ours.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !ours(path) && !strings.Contains(first, ".")
}
