package files

import (
	"context"
	"errors"
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
	spared bool // not listed ahead, since much is listed already

	entry     capstan.Entry // of the directory, with its outcome
	st        stat          // and what the system tells of it
	bare      bool          // its attributes were not read: it may be unchanged
	dir       *folder       // a reference, where it is descended
	other     bool          // it is not a directory: entry is not set
	elsewhere bool          // it lies on a filesystem that the scan keeps out of
	names     []name        // sorted
	complete  bool          // names are all that there are, so others are deleted
	cache     bool          // tagged as a cache that is to be ignored
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
				rd.load(l)
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
func (rd *reader) load(l *load) {
	rd.station.at(l.host)
	defer rd.station.at("")
	l.entry = capstan.Entry{Path: l.path, Kind: capstan.KindDir}
	dir, err := rd.openDir(l)
	if err == nil {
		rd.list(l, dir)
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
func (rd *reader) list(l *load, dir *folder) {
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
	l.st, l.elsewhere = st, rd.run.elsewhere(&st)
	if !l.elsewhere {
		l.names, err = rd.readNames(dir)
	}
	switch {
	case err != nil:
		l.fail("list", err)
		l.complete = false
	case rd.run.baseline != nil:
		l.bare = true
	default:
		rd.describeRest(l)
	}
	l.cache = rd.run.opt.IgnoreCacheDirs && rd.isCache(l.names, dir)
}

// describeRest completes the entry of a directory that is to be stored.
func (rd *reader) describeRest(l *load) {
	rd.attrs.read(l.dir.attributes(), &l.entry)
	if l.elsewhere {
		l.entry.Reason = "on another filesystem, not descended"
	}
}

// compare makes the entry of a listed directory the baseline's if it is unchanged,
// and completes it otherwise.
func (rd *reader) compare(l *load, held *capstan.Entry) {
	if !l.bare {
		return
	}
	if !unchanged(&l.st, held) {
		rd.describeRest(l)
		return
	}
	l.entry = *held
	l.entry.Path, l.entry.Dev = l.path, l.st.dev
	l.entry.Outcome, l.entry.Reason = capstan.OutcomeUnchanged, ""
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

// fail ends the scan with err.
func (r *run) fail(err error) { r.cancel(err) }

func baseOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
