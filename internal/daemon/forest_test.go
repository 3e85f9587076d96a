package daemon_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"strings"
	"time"

	"capstan"
)

// forest is a source that is as large as one likes and takes no room: directories
// of files, whose states follow from their numbers. A later version of it has
// creations, deletions, changes and replacements, one of each in some hundred
// entries; between two versions whole directories come and go.
//
// It reads nothing, so what it measures is all that comes after the reading. The
// baseline it asks by directory, as the source of file trees does.
type forest struct {
	dirs, files int // files in a directory
	version     int // 0, 1 or 2
}

const forestName = "forest"

func (f *forest) Spec() string { return "/" + forestName }

func (f *forest) Name() string { return forestName }

// lives tells from a number whether what bears it is there in this version: some
// are born in the first or the second, some die there.
func (f *forest) lives(n uint64) bool {
	switch n % 200 {
	case 0, 1: // born
		return f.version > int(n%200)
	case 2, 3: // dies
		return f.version <= int(n%200)-2
	}
	return true
}

// changes counts how often what bears a number has changed up to this version.
func (f *forest) changes(n uint64) (times int) {
	for v := 1; v <= f.version; v++ {
		if n%100 == uint64(10+v) {
			times++
		}
	}
	return times
}

// mixed makes numbers of two without a pattern in them.
func mixed(a, b int) uint64 {
	n := uint64(a)<<32 + uint64(b)
	n = (n ^ n>>31) * 0x9e3779b97f4a7c15
	n = (n ^ n>>29) * 0xbf58476d1ce4e5b9
	return n ^ n>>32
}

// dir gives the number of a directory, for lives and changes.
func dirNumber(d int) uint64 { return mixed(d, 1<<31) }

// entry is an entry of the forest, with its content.
func (f *forest) entry(path string, kind capstan.EntryKind, n uint64) (capstan.Entry, []byte) {
	e := capstan.Entry{
		Path: path, Kind: kind, Outcome: capstan.OutcomeStored, Mode: 0o755, UID: 1000, GID: 1000,
		User: "somebody", Group: "somebody", Dev: 2049, Ino: n >> 16, Links: 1,
		ModTime: time.Unix(1_700_000_000+int64(n>>40), int64(n>>8)%1e9),
	}
	e.ModTime = e.ModTime.Add(time.Duration(f.changes(n)) * time.Hour)
	e.ChangeTime = e.ModTime
	if kind != capstan.KindFile {
		return e, nil
	}
	e.Mode = 0o644
	if n%8 != 0 {
		return e, nil
	}
	content := fmt.Appendf(nil, "%d of %d", n, f.changes(n))
	e.Size, e.Hash = int64(len(content)), sha256.Sum256(content)
	return e, content
}

// in yields the names within a directory, in order, with what has become of each.
func (f *forest) in(d int, path string) iter.Seq2[capstan.Entry, []byte] {
	return func(yield func(capstan.Entry, []byte) bool) {
		for i := range f.files {
			n := mixed(d, i)
			if !f.lives(n) {
				continue
			}
			name := fmt.Appendf(make([]byte, 0, len(path)+16), "%s/file-%07d", path, i)
			kind := capstan.KindFile
			if f.version > 0 && n%500 == 42 { // it was a file before
				kind = capstan.KindDir
			}
			if !yield(f.entry(string(name), kind, n)) {
				return
			}
			if kind == capstan.KindDir && !yield(f.entry(string(name)+"/within", capstan.KindFile, n+1)) {
				return
			}
		}
	}
}

// all yields the whole forest in the order of capstan.ComparePaths.
func (f *forest) all() iter.Seq2[capstan.Entry, []byte] {
	return func(yield func(capstan.Entry, []byte) bool) {
		if !yield(f.entry(forestName, capstan.KindDir, 4)) {
			return
		}
		for d := range f.dirs {
			if !f.lives(dirNumber(d)) {
				continue
			}
			path := fmt.Sprintf("%s/dir-%06d", forestName, d)
			if !yield(f.entry(path, capstan.KindDir, dirNumber(d))) {
				return
			}
			for e, content := range f.in(d, path) {
				if !yield(e, content) {
					return
				}
			}
		}
	}
}

// Scan emits the forest, joined with what the baseline holds of it.
func (f *forest) Scan(ctx context.Context, baseline capstan.Baseline, emit func(context.Context, capstan.Batch) error) error {
	j := &joiner{ctx: ctx, baseline: baseline, emit: emit}
	if err := j.enter(""); err != nil {
		return err
	}
	for e, content := range f.all() {
		if err := j.add(e, content); err != nil {
			return err
		}
	}
	if err := j.leave(0); err != nil {
		return err
	}
	return j.flush()
}

// joiner merges entries with the baseline, one directory at a time.
type joiner struct {
	ctx      context.Context //nolint:containedctx // that of one Scan
	baseline capstan.Baseline
	emit     func(context.Context, capstan.Batch) error
	stack    []level
	items    []capstan.Item
}

// level is a directory on the way down.
type level struct {
	path string
	held []capstan.Entry // that the scan has not come to
	more bool            // whether the baseline has others
	last string          // name that it gave
}

// enter begins a directory.
func (j *joiner) enter(dir string) error {
	j.stack = append(j.stack, level{path: dir, more: j.baseline != nil})
	return j.refill(&j.stack[len(j.stack)-1])
}

// refill asks the baseline for more of a directory.
func (j *joiner) refill(l *level) (err error) {
	const page = 512
	if len(l.held) > 0 || !l.more {
		return nil
	}
	l.held, err = j.baseline.Children(j.ctx, l.path, l.last, page)
	if l.more = len(l.held) == page; l.more {
		_, l.last = capstan.SplitPath(l.held[page-1].Path)
	}
	return err
}

// leave ends directories until depth of them are left.
func (j *joiner) leave(depth int) error {
	for len(j.stack) > depth {
		l := &j.stack[len(j.stack)-1]
		if err := j.gone(l, func(string) bool { return true }); err != nil {
			return err
		}
		j.stack = j.stack[:len(j.stack)-1]
	}
	return nil
}

// gone emits what the baseline holds and the scan has passed.
func (j *joiner) gone(l *level, passed func(path string) bool) error {
	for len(l.held) > 0 && passed(l.held[0].Path) {
		e := l.held[0]
		e.Outcome, l.held = capstan.OutcomeDeleted, l.held[1:]
		if err := j.put(capstan.Item{Entry: e}); err != nil {
			return err
		}
		if err := j.refill(l); err != nil {
			return err
		}
	}
	return nil
}

func (j *joiner) add(e capstan.Entry, content []byte) error {
	dir, _ := capstan.SplitPath(e.Path)
	depth := len(j.stack)
	for depth > 1 && j.stack[depth-1].path != dir {
		depth--
	}
	if err := j.leave(depth); err != nil {
		return err
	}
	l := &j.stack[len(j.stack)-1]
	if err := j.gone(l, func(path string) bool { return strings.Compare(path, e.Path) < 0 }); err != nil {
		return err
	}
	wasDir := false
	if len(l.held) > 0 && l.held[0].Path == e.Path {
		held := l.held[0]
		l.held = l.held[1:]
		wasDir = held.Kind == capstan.KindDir
		if held.Kind == e.Kind && held.Size == e.Size && held.Ino == e.Ino && held.ModTime.Equal(e.ModTime) && held.ChangeTime.Equal(e.ChangeTime) {
			e, content = held, nil
			e.Outcome = capstan.OutcomeUnchanged
		}
		if err := j.refill(l); err != nil {
			return err
		}
	}
	if err := j.put(capstan.Item{Entry: e, Data: content}); err != nil {
		return err
	}
	if e.Kind != capstan.KindDir {
		return nil
	}
	if wasDir {
		return j.enter(e.Path)
	}
	j.stack = append(j.stack, level{path: e.Path})
	return nil
}

func (j *joiner) put(item capstan.Item) error {
	item.Entry.Host = "/" + item.Entry.Path
	if j.items = append(j.items, item); len(j.items) < 256 {
		return nil
	}
	return j.flush()
}

func (j *joiner) flush() error {
	items := j.items
	j.items = make([]capstan.Item, 0, 256)
	return j.emit(j.ctx, capstan.Batch{Items: items})
}
