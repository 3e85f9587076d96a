package files

import (
	"os"
	"path/filepath"
	"testing"

	"capstan"
)

func testReader(t *testing.T, root string, baseline capstan.Baseline) *reader {
	t.Helper()
	_, cancel := contextWithCancel(t)
	return open(t, root, Options{}).newRun(baseline, cancel).newReader()
}

// A small file that changes between being examined and being read is read again,
// and is then stored as it is.
func TestSmallFileIsReadAgain(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"file": "before"})
	rd := testReader(t, root, nil)
	dir, err := openFolder(root)
	must(t, err)
	defer dir.release()
	f, err := dir.open("file", &rd.noatime)
	must(t, err)
	st, err := f.stat()
	must(t, err)
	write(t, filepath.Join(root, "file"), "and after")
	it := &item{}
	rd.describe(&it.out.Entry, &st)
	rd.take(it, f, &st)
	e := &it.out.Entry
	if e.Outcome != capstan.OutcomeStored || e.Size != 9 || string(it.out.Data) != "and after" || !e.ModTime.Equal(st.mtime) {
		t.Errorf("%s %q: %d bytes, %q", e.Outcome, e.Reason, e.Size, it.out.Data)
	}
	it.drop()
}

// A directory whose listing fails says nothing about what was deleted in it.
func TestListingFails(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"d/": ""})
	held := got{Entry: capstan.Entry{Path: "data/d/x", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored}}
	rd := testReader(t, root, keep([]got{{Entry: capstan.Entry{Path: "data/d", Kind: capstan.KindDir, Outcome: capstan.OutcomeStored}}, held}))
	dir, err := openFolder(filepath.Join(root, "d"))
	must(t, err)
	must(t, os.Remove(filepath.Join(root, "d"))) // it cannot be read any more, though it is open
	l := &load{ticket: newTicket(), parent: dir, path: "data/d", host: filepath.Join(root, "d")}
	rd.list(l, dir)
	if l.complete || l.entry.Outcome != capstan.OutcomeVanished {
		t.Errorf("complete %v, %s %s", l.complete, l.entry.Outcome, l.entry.Reason)
	}
	f := &frame{path: "data/d", names: l.names, complete: l.complete}
	w := &walker{run: rd.run, reader: rd, stack: []*frame{f}, held: rd.run.followBaseline(t.Context())}
	defer w.held.stop()
	of, err := w.held.take(t.Context(), "data/d")
	if err != nil || of == nil {
		t.Fatal(of, err)
	}
	for len(w.stack) > 0 {
		must(t, w.step(t.Context()))
	}
	if w.chunk != nil {
		t.Errorf("emitted %+v", w.chunk.items)
	}
	if left, err := w.held.head(t.Context()); err != nil || left != nil {
		t.Errorf("not passed: %+v %v", left, err)
	}
	dir.release()
}
