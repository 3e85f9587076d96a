package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"capstan"
)

const (
	cacheTag       = "CACHEDIR.TAG"
	cacheSignature = "Signature: 8a477f597d28d172789f06886806bc55"
)

// name is one name in a listed directory.
type name struct {
	name string
	kind capstan.EntryKind // 0 when it could not be told
}

// load is the listing of one directory, often ahead of need.
type load struct {
	ticket
	parent *folder // a reference, until the directory is open; nil for the source itself
	index  int     // among the parent's names
	host   string
	path   string
	held   *capstan.Entry // what the baseline holds under the path, whatever its outcome
	spared bool           // not listed ahead, since much is listed already

	entry    capstan.Entry   // of the directory, with its outcome
	dir      *folder         // a reference, where it is descended
	other    bool            // it is not a directory: entry is not set
	names    []name          // sorted
	children []capstan.Entry // the first that the baseline holds in it
	more     bool            // whether it may hold others
	complete bool            // names are all that there are, so others are deleted
	cache    bool            // tagged as a cache that is to be ignored
}

// drop lets go of what the load holds open.
func (l *load) drop() {
	if l.parent != nil {
		l.parent.release()
		l.parent = nil
	}
	if l.dir != nil {
		l.dir.release()
		l.dir = nil
	}
}

// serveLoads lists directories until the channel is closed or ctx ends.
func (rd *reader) serveLoads(ctx context.Context, loads <-chan *load) {
	for {
		select {
		case l, ok := <-loads:
			if !ok {
				return
			}
			if !l.take() {
				continue
			}
			if rd.run.ahead.Load() < maxNamesAhead {
				rd.load(ctx, l)
				rd.run.ahead.Add(int64(len(l.names)))
			} else {
				l.spared = true
			}
			if n := len(l.names); !l.finish() {
				rd.run.ahead.Add(-int64(n))
				l.drop()
			}
		case <-ctx.Done():
			return
		}
	}
}

// load opens, examines and lists one directory.
func (rd *reader) load(ctx context.Context, l *load) {
	rd.station.at(l.host)
	defer rd.station.at("")
	l.entry = capstan.Entry{Path: l.path, Kind: capstan.KindDir}
	dir, err := rd.openDir(l)
	if err == nil {
		rd.list(ctx, l, dir)
		return
	}
	if l.parent == nil && errors.Is(err, fs.ErrNotExist) {
		rd.run.fail(unreadable(l.host, err))
		return
	}
	st, statErr := l.examine()
	switch {
	case statErr != nil:
		l.fail("examine", statErr)
	case st.kind != capstan.KindDir:
		l.other = true
	default:
		rd.describe(&l.entry, &st)
		l.fail("open", err)
	}
}

func (l *load) examine() (stat, error) {
	if l.parent != nil {
		return l.parent.lstat(baseOf(l.path))
	}
	return statHost(l.host)
}

func (rd *reader) openDir(l *load) (*folder, error) {
	if l.parent != nil {
		return l.parent.sub(baseOf(l.path))
	}
	return openFolder(l.host)
}

// fail says that an act on the directory met err.
func (l *load) fail(act string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		l.entry.Outcome = capstan.OutcomeVanished
		return
	}
	l.entry.Outcome, l.entry.Reason = capstan.OutcomeFailed, act+": "+err.Error()
}

// list owns dir.
func (rd *reader) list(ctx context.Context, l *load, dir *folder) {
	l.dir = dir
	st, err := dir.stat()
	if err != nil {
		l.fail("examine", err)
		l.drop()
		return
	}
	if l.parent == nil {
		rd.run.dev = st.dev
	}
	rd.describe(&l.entry, &st)
	l.entry.Outcome, l.complete = capstan.OutcomeStored, true
	elsewhere := rd.run.elsewhere(&st)
	if !elsewhere {
		l.names, err = rd.readNames(dir)
	}
	held := heldOnly(l.held)
	switch {
	case err != nil:
		l.fail("list", err)
		l.complete = false
	case unchanged(&st, held):
		l.entry = *held
		l.entry.Path, l.entry.Dev = l.path, st.dev
		l.entry.Outcome, l.entry.Reason = capstan.OutcomeUnchanged, ""
	default:
		rd.attrs.read(dir.attributes(), &l.entry)
		if elsewhere {
			l.entry.Reason = "on another filesystem, not descended"
		}
	}
	l.cache = rd.run.opt.IgnoreCacheDirs && rd.isCache(l.names, dir)
	if l.held != nil && l.held.Kind == capstan.KindDir {
		l.children, l.more, err = rd.run.children(ctx, l.path, "")
		if err != nil {
			rd.run.fail(err)
		}
	}
}

// readNames lists a directory in byte order. After an error it gives the names
// that were read before.
func (rd *reader) readNames(dir *folder) ([]name, error) {
	type span struct {
		end  int
		kind capstan.EntryKind
	}
	var text []byte
	var spans []span
	err := dir.list(&rd.dirents, func(n []byte, kind capstan.EntryKind) {
		text = append(text, n...)
		spans = append(spans, span{len(text), kind})
	})
	all := string(text) // the names share one string
	names := make([]name, len(spans))
	start := 0
	for i, s := range spans {
		names[i] = name{all[start:s.end], s.kind}
		start = s.end
	}
	slices.SortFunc(names, func(a, b name) int { return strings.Compare(a.name, b.name) })
	// A name that is renamed during the listing may be told twice.
	names = slices.CompactFunc(names, func(a, b name) bool { return a.name == b.name })
	for i := range names {
		if names[i].kind != 0 {
			continue
		}
		if st, statErr := dir.lstat(names[i].name); statErr == nil {
			names[i].kind = st.kind
		}
	}
	return names, err
}

// isCache reports whether a listed directory carries a cache directory tag.
func (rd *reader) isCache(names []name, dir *folder) bool {
	i, found := slices.BinarySearchFunc(names, cacheTag, func(n name, tag string) int { return strings.Compare(n.name, tag) })
	if !found || names[i].kind != capstan.KindFile {
		return false
	}
	noatime := true
	f, err := dir.open(cacheTag, &noatime)
	if err != nil {
		return false
	}
	defer f.close()
	var head [len(cacheSignature)]byte
	n, err := readFull(f, head[:], 0)
	return err == nil && string(head[:n]) == cacheSignature
}

// heldPage is how many held entries of a directory are in memory at once.
const heldPage = 512

// children asks the baseline for the next entries of a directory, in byte order.
// more reports whether others may come after them.
func (r *run) children(ctx context.Context, dir, after string) (entries []capstan.Entry, more bool, err error) {
	if r.baseline == nil {
		return nil, false, nil
	}
	entries, err = r.baseline.Children(ctx, dir, after, heldPage)
	if err != nil {
		return nil, false, fmt.Errorf("what is already held of %s: %w", dir, err)
	}
	for i := range entries {
		name := baseOf(entries[i].Path)
		if name <= after {
			return nil, false, fmt.Errorf("what is already held of %s: %q comes after %q: %w", dir, name, after, capstan.ErrDamaged)
		}
		after = name
	}
	return entries, len(entries) >= heldPage, nil
}

// heldAs gives what the baseline holds under the name of a source, nil for nothing.
func (r *run) heldAs(ctx context.Context, name string) (*capstan.Entry, error) {
	for after := ""; ; {
		entries, more, err := r.children(ctx, "", after)
		for i := range entries {
			if entries[i].Path == name {
				return &entries[i], nil
			}
		}
		if err != nil || !more {
			return nil, err
		}
		after = entries[len(entries)-1].Path
	}
}

// fail ends the scan with err.
func (r *run) fail(err error) { r.cancel(err) }

func baseOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// heldOnly gives a baseline's entry only if it can be restored.
func heldOnly(e *capstan.Entry) *capstan.Entry {
	if e == nil || !e.Outcome.Held() {
		return nil
	}
	return e
}
