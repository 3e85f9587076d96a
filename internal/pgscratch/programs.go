package pgscratch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/pg"
)

// needed are the programs of a server.
var needed = [...]string{"initdb", "postgres", "pg_ctl"}

// programs finds the directory of the server's programs, and checks that they are of
// the version that is wanted; a newer one that was named is taken.
func (o Options) programs(ctx context.Context) (string, error) {
	bin := o.Bin
	if bin == "" {
		found, err := pg.FindBin(o.Major)
		if err != nil {
			return "", o.missing(errors.New("its programs are not on this machine"))
		}
		bin = found
	}
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(bin, name)); errors.Is(err, fs.ErrNotExist) {
			return "", o.missing(fmt.Errorf("there is no %s in %s", name, bin))
		} else if err != nil {
			return "", o.missing(err)
		}
	}
	server, err := pg.ClientAt(ctx, filepath.Join(bin, "postgres"))
	if err != nil {
		return "", err
	}
	if server.Version.Major < o.Major || o.Bin == "" && server.Version.Major != o.Major {
		return "", o.missing(fmt.Errorf("%s is version %s", server.Path, server.Version))
	}
	return bin, nil
}

func (o Options) missing(err error) error {
	return &capstan.Error{
		Op: "find", Object: fmt.Sprintf("a server of PostgreSQL %d", o.Major), Err: err, Safe: "nothing was made",
		Next: fmt.Sprintf("install its package (postgresql-%[1]d on Debian, postgresql%[1]d-server on Red Hat), name its directory with --bindir, or a running server with --server", o.Major),
	}
}

// environment is this program's own, without what would lead PostgreSQL's programs
// elsewhere, and without secrets.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "CAPSTAN_") || strings.HasPrefix(name, "LC_") || name == "LANG" || name == "LANGUAGE"
	})
	return append(env, "LC_ALL=C")
}
