package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pgdump"
	"capstan/internal/target/postgres"
)

// globalsFlags say whether roles and tablespaces are restored.
type globalsFlags struct {
	too, only bool
	found     bool // if there are any
}

func (g *globalsFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&g.too, "globals", false, "first restore the server's roles and tablespaces, out of the globals.sql beside the dump")
	f.BoolVar(&g.only, "globals-only", false, "restore those, and no database")
}

func (g globalsFlags) wanted() bool { return g.too || g.only || g.found }

// options are those of the restore that they come with.
func (globalsFlags) options(o postgres.Options, content []byte, name string) postgres.GlobalsOptions {
	return postgres.GlobalsOptions{Content: content, Name: name, URL: o.URL, NoTablespaces: o.NoTablespaces, StallWarn: o.StallWarn, StallFail: o.StallFail}
}

// globalsBeside reads the globals.sql in a dump's directory, or in the one above.
func globalsBeside(dir string) (content []byte, path string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, "", err
	}
	for _, place := range []string{dir, filepath.Dir(dir)} {
		path = filepath.Join(place, pgdump.Globals)
		content, err = disk.FS{}.ReadFile(path, pgdump.MaxGlobals)
		if !errors.Is(err, fs.ErrNotExist) {
			return content, path, err
		}
	}
	return nil, "", &capstan.Error{
		Class: capstan.ErrNotFound, Op: "restore the roles of", Object: dir, Err: fmt.Errorf("neither it nor the directory above holds %s", pgdump.Globals),
		Safe: "nothing was changed", Next: "restore without --globals",
	}
}

// globalsText tells people what became of roles and tablespaces.
func globalsText(s postgres.GlobalsSummary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "roles and tablespaces: %d made, %d were there already\n", len(s.Made), len(s.There))
	told := 0
	for _, kind := range []struct {
		of   []postgres.Problem
		word string
	}{{s.Problems, "not made: "}, {s.Differ, "differs: "}, {s.Notes, "note: "}} {
		for _, p := range kind.of {
			if told++; told <= shownProblems {
				fmt.Fprintf(&b, "  %s%s: %s\n", kind.word, p.Object, p.Err)
			}
		}
	}
	if told > shownProblems {
		fmt.Fprintf(&b, "  and %s (see --json)\n", plural(int64(told-shownProblems), "more line"))
	}
	return b.String()
}
