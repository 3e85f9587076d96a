package daemon

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/source/dumps"
	"capstan/internal/source/files"
)

// SourceOptions say how file trees are read.
type SourceOptions struct {
	Excludes        []string // gitignore syntax
	OneFileSystem   bool
	IgnoreCacheDirs bool
	Memory          capstan.Bytes
	Hooks           files.Hooks
	Databases       DatabaseOptions
}

// Sources makes the sources that the user named: file trees and databases. Two of the
// same base name are numbered ("data", "data-2"). The directories that are written to (volumes, by
// their VolumePath, which need not be there yet, and the stage) and the home are left
// out where they lie within a source: a backup that reads what it writes has no end.
func (d *Daemon) Sources(specs, written []string, options SourceOptions) ([]capstan.Source, error) {
	used := map[string]bool{}
	var sources []capstan.Source
	for _, spec := range specs {
		if dumps.Is(spec) {
			source, err := d.database(spec, used, options.Databases)
			if err != nil {
				return nil, err
			}
			sources = append(sources, source)
			continue
		}
		if err := onlyFiles("source", spec); err != nil {
			return nil, err
		}
		if path, err := absolute(spec); err == nil && slices.Contains(written, path) {
			return nil, &capstan.Error{
				Class: capstan.ErrRefused, Op: "backup", Object: spec, Err: errors.New("it is the volume itself"),
				Next: "name a directory within it, or another volume",
			}
		}
		d.warnOfPaths(spec, options.Excludes)
		own := options
		for _, dir := range append(slices.Clip(written), d.Home.Dir) {
			if pattern, inside := d.within(spec, dir); inside {
				d.say("%s lies within the source %s and is left out", dir, spec)
				own.Excludes = append(slices.Clone(own.Excludes), pattern)
			}
		}
		source, err := newFiles(spec, "", own)
		if err != nil {
			return nil, err
		}
		name := source.Name()
		for n := 2; used[name]; n++ {
			name = fmt.Sprintf("%s-%d", source.Name(), n)
		}
		if name != source.Name() {
			d.say("source %s is stored as %q: %q is taken by another source", spec, name, source.Name())
			if source, err = newFiles(spec, name, own); err != nil {
				return nil, err
			}
		}
		used[name] = true
		sources = append(sources, source)
	}
	return sources, nil
}

// within gives the pattern that leaves dir out of the source at path, if it lies
// in there.
func (d *Daemon) within(path, dir string) (pattern string, inside bool) {
	source, err := absolute(path)
	if err != nil {
		return "", false
	}
	if dir, err = absolute(dir); err != nil {
		return "", false
	}
	rel, err := filepath.Rel(source, dir)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", false
	}
	escape := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, " ", `\ `)
	return "/" + escape.Replace(filepath.ToSlash(rel)), true
}

// warnOfPaths tells of patterns that are paths of this machine: patterns are
// rooted at the source, so that these leave nothing out.
func (d *Daemon) warnOfPaths(spec string, patterns []string) {
	abs, err := filepath.Abs(spec)
	if err != nil {
		return // opening the source says it
	}
	roots := []string{abs}
	if real, err := absolute(spec); err == nil && real != abs {
		roots = append(roots, real)
	}
	for _, pattern := range patterns {
		for _, root := range roots {
			root = strings.TrimSuffix(filepath.ToSlash(root), "/")
			rest, inside := strings.CutPrefix(strings.TrimPrefix(pattern, "!"), root+"/")
			if !inside || root == "" || strings.Trim(rest, "/ ") == "" {
				continue
			}
			if _, err := os.Lstat(root + strings.TrimPrefix(pattern, "!")); err == nil {
				continue // it does name something in the source
			}
			d.warn("pattern %s looks like a path of this machine; patterns are rooted at the source: did you mean /%s?", pattern, rest)
			break
		}
	}
}

func newFiles(path, name string, options SourceOptions) (*files.Source, error) {
	return files.New(path, files.Options{
		Name: name, Excludes: options.Excludes, OneFileSystem: options.OneFileSystem,
		IgnoreCacheDirs: options.IgnoreCacheDirs, Memory: options.Memory, Hooks: options.Hooks,
	})
}

// onlyFiles refuses what this build cannot read or write yet, by its scheme.
func onlyFiles(what, spec string) error {
	if spec == "" {
		return &capstan.Error{Class: capstan.ErrUsage, Op: what, Err: errors.New("its name is empty")}
	}
	if dumps.Is(spec) {
		return &capstan.Error{Class: capstan.ErrUsage, Op: what, Object: Shown(spec), Err: errors.New("a database is a source, and nothing else"), Next: "give a path"}
	}
	for _, scheme := range []string{"s3://", "supabase://", "tape:", "pool:"} {
		if strings.HasPrefix(spec, scheme) {
			return &capstan.Error{
				Class: capstan.ErrUsage, Op: what, Object: redact(spec),
				Err: fmt.Errorf("%s is not supported by this version", strings.TrimSuffix(scheme, "//")), Next: "give a path",
			}
		}
	}
	return nil
}

// redact takes the password out of a URL before it is shown.
func redact(spec string) string {
	if u, err := url.Parse(spec); err == nil {
		return u.Redacted()
	}
	return "(malformed URL)"
}

// answering is the canonical form of a directory that the user named, or what can
// be said of it without asking a filesystem that does not answer in time.
func answering(path string) (string, error) {
	type result struct {
		path string
		err  error
	}
	results := make(chan result, 1)
	go func() {
		real, err := absolute(path)
		results <- result{real, err}
	}()
	timer := time.NewTimer(openTime)
	defer timer.Stop()
	select {
	case r := <-results:
		return r.path, r.err
	case <-timer.C:
		return filepath.Abs(path)
	}
}

// absolute is the canonical form of a directory that the user named. What is not
// there yet has the form that it will have when it is made.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	for dir, rest := abs, ""; ; {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return abs, nil
		}
		dir, rest = parent, filepath.Join(filepath.Base(dir), rest)
	}
}
