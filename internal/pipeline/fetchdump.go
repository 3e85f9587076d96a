package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pgdump"
	"capstan/internal/pgtoc"
)

// FetchDump says which dump is brought out of a set, and where to.
type FetchDump struct {
	Set capstan.SetID
	// Database names the dump as OpenDump takes it; empty: the only one of the set.
	Database string
	// Dir gets the dump, in a directory of its own within: Fetched.Dir. It is there
	// already, and private to the caller, who removes it.
	Dir string
	// Wanted gives the names of the data files, without suffixes, that are wanted; nil,
	// and one that gives nil: all. What is not wanted is there as an empty file.
	Wanted func(toc *pgtoc.Archive) (files map[string]bool, err error)
	// Room is asked before anything is written whether so many bytes may be, and may
	// wait until they may; nil: the file system has to have them free.
	Room     func(ctx context.Context, n capstan.Bytes) error
	Part     bool // of another run: it has no row of its own
	Globals  bool // the roles above the dump are wanted too, where the set has them
	Patience Patience
}

// Fetched is a dump that was brought out of a set.
type Fetched struct {
	Dir  string // in pg_dump's directory format
	Path string // of the dump within the set
	// Globals is the file with the server's roles; empty: not wanted, or the set has
	// none. It lies beside the dump or above it.
	Globals string
	Bytes   capstan.Bytes
}

// FetchDump brings a dump out of a set, whole or the wanted part of it, so that the
// stock pg_restore, or package target/postgres, can restore it. Every file is proven
// by its hash. What is damaged is named by table, and the error is of class
// capstan.ErrIncomplete; the rest is there. It blocks until the volumes have given the
// files, or ctx ends. The caller removes the directory, also after an error.
func (e *Engine) FetchDump(ctx context.Context, job FetchDump) (Fetched, error) {
	at, err := e.OpenDump(ctx, job.Set, job.Database)
	if err != nil {
		return Fetched{}, err
	}
	dump, err := pgdump.Open(at)
	if errors.Is(err, capstan.ErrDamaged) {
		return Fetched{Path: at.Path}, at.unusable(err)
	}
	if err != nil {
		return Fetched{}, err
	}
	f := Fetched{Path: at.Path, Dir: filepath.Join(job.Dir, filepath.FromSlash(at.Path))}
	var wanted map[string]bool
	if job.Wanted != nil {
		if wanted, err = job.Wanted(dump.Archive); err != nil {
			return f, err
		}
	}
	paths := at.chosen(wanted, &f.Bytes)
	if job.Globals {
		within, err := at.globals(ctx)
		if err != nil {
			return f, err
		}
		if within != "" {
			paths = append(paths, within)
			f.Globals = filepath.Join(job.Dir, filepath.FromSlash(within))
		}
	}
	room := job.Room
	if room == nil {
		room = func(_ context.Context, n capstan.Bytes) error { return hasRoom(job.Dir, n) }
	}
	if err := room(ctx, f.Bytes); err != nil {
		return f, err
	}
	summary, err := e.Restore(ctx, Restore{Set: job.Set, Paths: paths, Target: job.Dir, Part: job.Part, Patience: job.Patience})
	if err != nil {
		return f, at.damaged(dump, summary.Problems, err)
	}
	return f, f.standIns(dump, wanted)
}

// globals is the path of the roles that belong to the dump; empty where there are none.
func (d *SetDump) globals(ctx context.Context) (string, error) {
	above, _ := capstan.SplitPath(d.Path)
	for _, dir := range []string{d.Path, above} {
		path := capstan.JoinPath(dir, pgdump.Globals)
		if is, err := d.view.holdsFile(ctx, path); dir != "" && is || err != nil {
			return path, err
		}
	}
	return "", nil
}

// chosen gives the paths of a dump that are wanted; wanted nil: its directory.
func (d *SetDump) chosen(wanted map[string]bool, bytes *capstan.Bytes) (paths []string) {
	for name, size := range d.sizes {
		if isWanted(name, wanted) {
			*bytes += capstan.Bytes(size)
			paths = append(paths, d.Path+"/"+name)
		}
	}
	if wanted == nil {
		return []string{d.Path}
	}
	slices.Sort(paths)
	return paths
}

// isWanted reports whether a file of a dump is; large objects are if their list is.
func isWanted(name string, wanted map[string]bool) bool {
	if wanted == nil || name == pgdump.TOC || wanted[name] {
		return true
	}
	if strings.HasPrefix(name, "blob_") {
		for list := range wanted {
			if strings.HasPrefix(list, "blobs") {
				return true
			}
		}
	}
	stem, _, data := strings.Cut(name, ".dat")
	return data && wanted[stem+".dat"]
}

// standIns puts empty files where tables' data was left out: whoever reads the dump
// looks for each.
func (f *Fetched) standIns(dump *pgdump.Dump, wanted map[string]bool) error {
	fsys := disk.FS{}
	for _, table := range dump.Tables() {
		if isWanted(table.File, wanted) {
			continue
		}
		file, err := fsys.Create(filepath.Join(f.Dir, table.File))
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unusable is the error of a dump whose table of contents is damaged.
func (d *SetDump) unusable(err error) error {
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "read the dump in set", Object: string(d.view.Set().ID), Err: err,
		Safe: "nothing was changed in any database", Next: "restore from another copy or set",
	}
}

// damaged names the tables whose data could not be brought.
func (d *SetDump) damaged(dump *pgdump.Dump, problems []Problem, err error) error {
	if !errors.Is(err, capstan.ErrIncomplete) {
		return err
	}
	tables := map[string]string{}
	for _, table := range dump.Tables() {
		tables[d.Path+"/"+table.File] = "table " + table.String()
	}
	var named []string
	for _, p := range problems {
		if table := tables[p.Object]; table != "" {
			named = append(named, fmt.Sprintf("%s (%s: %s)", table, p.Object, p.Reason))
		} else {
			named = append(named, fmt.Sprintf("%s: %s", p.Object, p.Reason))
		}
	}
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "read the dump in set", Object: string(d.view.Set().ID), Err: fmt.Errorf("damaged: %s", strings.Join(named, "; ")),
		Safe: "nothing was changed in any database", Next: "restore from another copy or set, or choose other tables with --table",
	}
}

// hasRoom refuses what does not fit on the file system at dir.
func hasRoom(dir string, n capstan.Bytes) error {
	free, err := disk.FS{}.Free(dir)
	if err == nil && free < n {
		err = &capstan.Error{
			Class: capstan.ErrNoSpace, Op: "fetch a dump to", Object: dir, Err: fmt.Errorf("%s are needed, %s are free", n, free), Safe: "nothing was written",
		}
	}
	return err
}
