package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// execAllowed are the packages that start children: the one runner of the
// product, and programs that are not the product. Tests may start children too.
var execAllowed = []string{
	"internal/process", "internal/capstantest", "internal/capstantest/slowfs", "internal/capstantest/vm", "internal/capstantest/pgtest", "bench", "scripts/noskip",
}

func TestCode(t *testing.T) {
	t.Parallel()
	for _, name := range listFiles(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		source, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		breaches, err := codeBreaches(name, source)
		if err != nil {
			t.Error(err)
		}
		for _, breach := range breaches {
			t.Error(breach)
		}
	}
}

func TestPackagesHaveDoc(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, platform := range platforms {
		for _, pkg := range listPackages(t, platform) {
			documented[pkg.ImportPath] = documented[pkg.ImportPath] || pkg.Doc != ""
		}
	}
	for name, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment: say its use, its order of calls, and what blocks", name)
		}
	}
}

func TestCodeRuleSeesBreaches(t *testing.T) {
	t.Parallel()
	const (
		sleeping  = "package x\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"
		executing = "package x\nimport \"os/exec\"\nvar _ = exec.Command\n"
	)
	tests := []struct{ name, source, want string }{
		{"internal/disk/sync.go", "package disk\nfunc Sync() {}\n", ""},
		{"internal/disk/sync.go", "package disk\nfunc init() {}\n", "func init"},
		{"internal/disk/sync.go", "package disk\ntype T struct{}\nfunc (T) init() {}\n", ""},
		{"internal/disk/sync.go", executing, "os/exec"},
		{"internal/disk/sync_test.go", executing, ""},
		{"internal/process/run.go", executing, ""},
		{"internal/process/deep/run.go", executing, "os/exec"},
		{"bench/run.go", executing, ""},
		{"internal/disk/sync_test.go", sleeping, "time.Sleep"},
		{"internal/disk/sync_test.go", "package x\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }\n", "time.Sleep"},
		{"internal/disk/sync_test.go", strings.Replace(sleeping, "import", "import _ \"testing/synctest\"\nimport", 1), ""},
	}
	for _, test := range tests {
		breaches, err := codeBreaches(test.name, []byte(test.source))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.want == "" && len(breaches) > 0 {
			t.Errorf("%s: breaches %q, want none", test.name, breaches)
		}
		if test.want != "" && (len(breaches) != 1 || !strings.Contains(breaches[0], test.want)) {
			t.Errorf("%s: breaches %q, want one with %q", test.name, breaches, test.want)
		}
	}
}

// codeBreaches names what a Go file of the house must not do.
func codeBreaches(name string, source []byte) ([]string, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var breaches []string
	report := func(node ast.Node, why string) {
		breaches = append(breaches, fmt.Sprintf("%s: %s", files.Position(node.Pos()), why))
	}
	isTest := strings.HasSuffix(name, "_test.go")
	imports := importNames(file)
	if !isTest && imports["os/exec"] != "" && !slices.Contains(execAllowed, filepath.ToSlash(filepath.Dir(name))) {
		report(file.Name, "imports os/exec: children are started by internal/process alone")
	}
	fakeTime := imports["testing/synctest"] != "" // within a bubble a sleep takes no time and cannot race
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncDecl:
			if node.Name.Name == "init" && node.Recv == nil {
				report(node, "func init: construct where it is used, and say so in the call")
			}
		case *ast.SelectorExpr:
			of, ok := node.X.(*ast.Ident)
			if ok && isTest && !fakeTime && node.Sel.Name == "Sleep" && of.Name == imports["time"] {
				report(node, "time.Sleep in a test: wait for the event, or use testing/synctest")
			}
		}
		return true
	})
	return breaches, nil
}

// importNames maps the imports of a file to the names that they bear in it.
func importNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		names[imported] = imported[strings.LastIndexByte(imported, '/')+1:]
		if spec.Name != nil {
			names[imported] = spec.Name.Name
		}
	}
	return names
}
