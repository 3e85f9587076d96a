package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/pgdump"
)

// SetDump is a dump of a database that a set holds: a directory in it with a table of
// contents, at the top or one below, as a backup of a database or of a whole server
// makes them. It is a file system for package pgdump: a file that is opened is read out
// of the archives, only the frames that hold it, and proven by its hash at its end.
//
// It is used by one goroutine.
type SetDump struct {
	// Path is the dump's directory within the set.
	Path   string
	ctx    context.Context //nolint:containedctx // file systems take none
	engine *Engine
	view   *View
	sizes  map[string]int64
}

var _ fs.StatFS = (*SetDump)(nil)

// Dumps lists the directories of a set that hold a dump, in their order.
func (e *Engine) Dumps(ctx context.Context, set capstan.SetID) ([]string, error) {
	view, err := e.restorable(ctx, set)
	if err != nil {
		return nil, err
	}
	return view.dumps(ctx)
}

// dumps looks at the set's top and one directory below; what lies deeper is the
// content of file trees.
func (v *View) dumps(ctx context.Context) (paths []string, err error) {
	var tops []string
	for entry, err := range v.Children(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		if entry.Kind == capstan.KindDir && entry.Outcome.Held() {
			tops = append(tops, entry.Path)
		}
	}
	for _, top := range tops {
		is, err := v.holdsFile(ctx, top+"/"+pgdump.TOC)
		if err != nil {
			return nil, err
		}
		if is {
			paths = append(paths, top)
			continue
		}
		for entry, err := range v.Children(ctx, top, "") {
			if err != nil {
				return nil, err
			}
			if entry.Kind != capstan.KindDir || !entry.Outcome.Held() {
				continue
			}
			if is, err = v.holdsFile(ctx, entry.Path+"/"+pgdump.TOC); err != nil {
				return nil, err
			}
			if is {
				paths = append(paths, entry.Path)
			}
		}
	}
	return paths, nil
}

// OpenDump finds the dump of a database in a set: by the path of its directory, or by
// that one's last component; an empty name stands for the only dump that there is. A
// set that holds no such dump is capstan.ErrNotFound, a name that fits several, or none
// where there are several, capstan.ErrUsage.
func (e *Engine) OpenDump(ctx context.Context, set capstan.SetID, database string) (*SetDump, error) {
	view, err := e.restorable(ctx, set)
	if err != nil {
		return nil, err
	}
	paths, err := view.dumps(ctx)
	if err != nil {
		return nil, err
	}
	fits := slices.DeleteFunc(slices.Clone(paths), func(path string) bool {
		_, name := capstan.SplitPath(path)
		return database != "" && path != database && name != database
	})
	if slices.Contains(fits, database) {
		fits = []string{database} // its path, whatever others are called
	}
	switch {
	case len(fits) == 0 && len(paths) == 0:
		return nil, &capstan.Error{
			Class: capstan.ErrNotFound, Op: "dump in set", Object: string(set), Err: errors.New("it holds no whole dump of a database"),
			Next: fmt.Sprintf("see: capstan ls %s", set),
		}
	case len(fits) == 0:
		return nil, &capstan.Error{
			Class: capstan.ErrNotFound, Op: "dump in set", Object: database, Err: fmt.Errorf("set %s has only: %s", set, strings.Join(paths, ", ")),
		}
	case len(fits) > 1:
		return nil, &capstan.Error{
			Class: capstan.ErrUsage, Op: "dump in set", Object: string(set), Err: fmt.Errorf("it holds several: %s", strings.Join(fits, ", ")),
			Next: "name one with --database",
		}
	}
	d := &SetDump{Path: fits[0], ctx: ctx, engine: e, view: view, sizes: map[string]int64{}}
	for entry, err := range view.Children(ctx, d.Path, "") {
		if err != nil {
			return nil, err
		}
		if _, name := capstan.SplitPath(entry.Path); entry.Kind == capstan.KindFile && entry.Outcome.Held() {
			d.sizes[name] = entry.Size
		}
	}
	return d, nil
}

// Globals reads the roles and tablespaces that a set holds beside the dump of a database
// (named as for OpenDump; empty: any), or above those of a whole server. None is
// capstan.ErrNotFound, several capstan.ErrUsage; damage is of class capstan.ErrIncomplete.
func (e *Engine) Globals(ctx context.Context, set capstan.SetID, database string) (content []byte, path string, err error) {
	view, err := e.restorable(ctx, set)
	if err != nil {
		return nil, "", err
	}
	dumps, err := view.dumps(ctx)
	if err != nil {
		return nil, "", err
	}
	var found []string
	for _, dump := range dumps {
		above, name := capstan.SplitPath(dump)
		if database != "" && database != dump && database != name {
			continue
		}
		for _, dir := range []string{dump, above} {
			at := capstan.JoinPath(dir, pgdump.Globals)
			is, err := view.holdsFile(ctx, at)
			if err != nil {
				return nil, "", err
			}
			if is && dir != "" && !slices.Contains(found, at) {
				found = append(found, at)
			}
		}
	}
	switch {
	case len(found) == 0:
		return nil, "", &capstan.Error{
			Class: capstan.ErrNotFound, Op: "restore the roles of set", Object: string(set), Err: fmt.Errorf("it holds no %s beside a dump", pgdump.Globals),
			Next: "back up with --globals, or restore without",
		}
	case len(found) > 1:
		return nil, "", &capstan.Error{
			Class: capstan.ErrUsage, Op: "restore the roles of set", Object: string(set), Err: fmt.Errorf("it holds several: %s", strings.Join(found, ", ")), Next: "name a dump with --database",
		}
	}
	if content, err = e.content(ctx, view, found[0], pgdump.MaxGlobals); ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if err != nil {
		err = &capstan.Error{Class: capstan.ErrIncomplete, Op: "read", Object: found[0], Err: err, Safe: "nothing was changed at the server", Next: "restore from another copy or set"}
	}
	return content, found[0], err
}

// Beside reads a file of each dump in a set that lies in a directory of that name, at the
// top or one below: its receipt. It looks for these names alone, so that it costs little
// however much the set holds. Those that are there are given by their paths.
func (e *Engine) Beside(ctx context.Context, set capstan.SetID, dir, file string, limit int64) (contents map[string][]byte, err error) {
	view, err := e.restorable(ctx, set)
	if err != nil {
		return nil, err
	}
	candidates := []string{dir + "/" + file}
	for entry, err := range view.Children(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		if entry.Kind == capstan.KindDir && entry.Outcome.Held() {
			candidates = append(candidates, entry.Path+"/"+dir+"/"+file)
		}
	}
	contents = map[string][]byte{}
	for _, path := range candidates {
		is, err := view.holdsFile(ctx, path)
		if err != nil {
			return nil, err
		}
		if is {
			if contents[path], err = e.content(ctx, view, path, limit); err != nil {
				return nil, err
			}
		}
	}
	return contents, nil
}

// content reads a file of a set whole, and proves it.
func (e *Engine) content(ctx context.Context, view *View, path string, limit int64) ([]byte, error) {
	entry, err := view.file(ctx, path)
	if err != nil {
		return nil, err
	}
	reader := e.newSetReader(entry.Set)
	in := reader.content(ctx, &entry.Entry)
	content, err := io.ReadAll(io.LimitReader(in, limit))
	return content, errors.Join(err, in.Close(), reader.close())
}

// Files gives the sizes of the dump's files by their names; it is not to be changed.
func (d *SetDump) Files() map[string]int64 { return d.sizes }

// Stat implements fs.StatFS.
func (d *SetDump) Stat(name string) (fs.FileInfo, error) {
	size, ok := d.sizes[name]
	if !ok {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return dumpFile{name: name, size: size}, nil
}

// Open implements fs.FS.
func (d *SetDump) Open(name string) (fs.File, error) {
	size, ok := d.sizes[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	entry, err := d.view.file(d.ctx, d.Path+"/"+name)
	if err != nil {
		return nil, err
	}
	reader := d.engine.newSetReader(entry.Set)
	return &openDumpFile{dumpFile{name: name, size: size}, reader.content(d.ctx, &entry.Entry), reader}, nil
}

// dumpFile describes a file of a dump.
type dumpFile struct {
	name string
	size int64
}

func (f dumpFile) Name() string     { return f.name }
func (f dumpFile) Size() int64      { return f.size }
func (dumpFile) Mode() fs.FileMode  { return 0o600 }
func (dumpFile) ModTime() time.Time { return time.Time{} }
func (dumpFile) IsDir() bool        { return false }
func (dumpFile) Sys() any           { return nil }

// openDumpFile reads a file of a dump out of the archives.
type openDumpFile struct {
	dumpFile
	io.ReadCloser
	reader *setReader
}

// Stat implements fs.File.
func (f *openDumpFile) Stat() (fs.FileInfo, error) { return f.dumpFile, nil }

// Close implements fs.File.
func (f *openDumpFile) Close() error { return errors.Join(f.ReadCloser.Close(), f.reader.close()) }
