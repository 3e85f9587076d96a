package daemon_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"time"

	"capstan"
)

// forest is a source that is as large as one likes and takes no room: directories
// of files, whose states follow from their numbers. A later version of it has
// creations, deletions, changes and replacements, one of each in some hundred
// entries; between two versions whole directories come and go.
//
// It reads nothing, so what it measures is all that comes after the reading. The
// baseline it follows entry by entry, as the source of file trees does.
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
	j := &joiner{ctx: ctx, emit: emit, next: func() (e capstan.Entry, err error, ok bool) { return e, nil, false }}
	if baseline != nil {
		next, stop := iter.Pull2(baseline.Walk(ctx, forestName))
		defer stop()
		j.next = next
	}
	if err := j.advance(); err != nil {
		return err
	}
	for e, content := range f.all() {
		if err := j.add(e, content); err != nil {
			return err
		}
	}
	if err := j.gone(func(string) bool { return true }); err != nil {
		return err
	}
	return j.flush()
}

// joiner merges entries with the baseline.
type joiner struct {
	ctx   context.Context //nolint:containedctx // that of one Scan
	next  func() (capstan.Entry, error, bool)
	held  capstan.Entry // that the scan has not come to
	more  bool          // whether there is one
	emit  func(context.Context, capstan.Batch) error
	items []capstan.Item
}

// advance moves to the next entry of the baseline.
func (j *joiner) advance() (err error) {
	j.held, err, j.more = j.next()
	return err
}

// within passes what the baseline holds in a path.
func (j *joiner) within(path string) error {
	for j.more && capstan.Within(j.held.Path, path) {
		if err := j.advance(); err != nil {
			return err
		}
	}
	return nil
}

// gone emits what the baseline holds and the scan has passed.
func (j *joiner) gone(passed func(path string) bool) error {
	for j.more && passed(j.held.Path) {
		e := j.held
		e.Outcome = capstan.OutcomeDeleted
		if err := j.put(capstan.Item{Entry: e}); err != nil {
			return err
		}
		if err := j.within(e.Path); err != nil {
			return err
		}
	}
	return nil
}

func (j *joiner) add(e capstan.Entry, content []byte) error {
	if err := j.gone(func(path string) bool { return capstan.ComparePaths(path, e.Path) < 0 }); err != nil {
		return err
	}
	if j.more && j.held.Path == e.Path {
		held := j.held
		if held.Kind == e.Kind && held.Size == e.Size && held.Ino == e.Ino && held.ModTime.Equal(e.ModTime) && held.ChangeTime.Equal(e.ChangeTime) {
			e, content = held, nil
			e.Outcome = capstan.OutcomeUnchanged
		}
		if err := j.advance(); err != nil {
			return err
		}
	}
	if err := j.put(capstan.Item{Entry: e, Data: content}); err != nil || e.Kind == capstan.KindDir {
		return err
	}
	return j.within(e.Path)
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
