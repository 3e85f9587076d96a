package dumpall

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pgdump"
	"capstan/internal/source/dumps"
)

// Found is a dump in a directory of several.
type Found struct {
	Name string // of the database that was dumped
	Dir  string
}

// receiptLimit is more than the receipt of a hundred thousand databases.
const receiptLimit = 64 << 20

// Find names the dumps that lie in dir, each in a directory of its own, by the names of
// their databases. Missing are databases that the directory's receipt knows and that are
// not there, with the reason. A directory without a dump is capstan.ErrNotFound.
func Find(dir string) (found []Found, missing []string, err error) {
	d := disk.FS{}
	entries, err := d.ReadDir(dir)
	if err != nil {
		return nil, nil, &capstan.Error{Class: capstan.ErrNotFound, Op: "open the dumps in", Object: dir, Err: err}
	}
	for _, entry := range entries {
		at := filepath.Join(dir, entry.Name())
		if !entry.IsDir() {
			continue
		}
		if _, err := d.Lstat(filepath.Join(at, pgdump.TOC)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		dump, err := pgdump.Open(os.DirFS(at))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", at, err)
		}
		found = append(found, Found{Name: dump.Database.Value, Dir: at})
	}
	if len(found) == 0 {
		return nil, nil, &capstan.Error{
			Class: capstan.ErrNotFound, Op: "open the dumps in", Object: dir, Err: errors.New("no directory in it holds a " + pgdump.TOC),
			Next: "name a directory that capstan pg dump --all-databases wrote",
		}
	}
	missing, err = missingOf(d, dir, found)
	return found, missing, err
}

// missingOf compares what is there with the receipt, if there is one.
func missingOf(d disk.FS, dir string, found []Found) (missing []string, err error) {
	content, err := d.ReadFile(filepath.Join(dir, dumps.ServerReceipt), receiptLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r Receipt
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", filepath.Join(dir, dumps.ServerReceipt), err, capstan.ErrDamaged)
	}
	for _, database := range r.Databases {
		there := slices.ContainsFunc(found, func(f Found) bool { return f.Name == database.Name })
		switch {
		case database.Status == Failed && !there:
			missing = append(missing, fmt.Sprintf("database %s (it could not be dumped: %s)", database.Name, database.Error))
		case database.Status == Complete && !there:
			missing = append(missing, fmt.Sprintf("database %s (its directory %s is gone)", database.Name, database.Directory))
		}
	}
	if r.Globals == Failed {
		missing = append(missing, fmt.Sprintf("roles and tablespaces (they could not be dumped: %s)", r.GlobalsError))
	}
	return missing, nil
}

// Choose gives the directory of one dump: dir itself if it is one, else the one in it of
// that database, or of that name; without a name the only one. Several are
// capstan.ErrUsage.
func Choose(dir, database string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, pgdump.TOC)); err == nil {
		return dir, nil
	}
	found, _, err := Find(dir)
	if err != nil {
		return "", err
	}
	var names []string
	for _, f := range found {
		if f.Name == database {
			return f.Dir, nil
		}
		names = append(names, f.Name)
	}
	for _, f := range found {
		if filepath.Base(f.Dir) == database || database == "" && len(found) == 1 {
			return f.Dir, nil
		}
	}
	class, reason := capstan.ErrUsage, "it holds several dumps: "
	if database != "" {
		class, reason = capstan.ErrNotFound, "it holds no dump of the database "+database+", only: "
	}
	return "", &capstan.Error{Class: class, Op: "open the dump in", Object: dir, Err: errors.New(reason + strings.Join(names, ", ")), Next: "name one with --database"}
}
