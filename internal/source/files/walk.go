package files

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"capstan"
)

// walker goes through the tree depth-first, and cuts it into chunks. It alone
// decides the order.
type walker struct {
	run    *run
	reader *reader // for listings that nobody made ahead
	stack  []*frame
	chunk  *chunk
	held   heldEntries
	loads  int // under way or waiting to be used, over all frames
	seq    int64
}

// walk runs until all is walked or ctx ends.
func (w *walker) walk(ctx context.Context) {
	defer close(w.run.chunks)
	defer close(w.run.work)
	defer close(w.run.loads)
	defer w.unwind()
	defer w.held.stop()
	if hook := w.run.opt.Hooks.Entries; hook != nil {
		hook(1)
	}
	err := w.start(ctx)
	for err == nil && len(w.stack) > 0 {
		err = w.step(ctx)
	}
	if err == nil {
		err = w.flush(ctx)
	}
	if err != nil {
		w.run.fail(err) // without effect when ctx has ended before
	}
}

// unwind lets go of what a walk that ended early still holds.
func (w *walker) unwind() {
	for _, f := range w.stack {
		w.leave(f)
	}
	if w.chunk != nil {
		w.chunk.drop(0)
	}
}

// leave lets go of all that a directory on the way down holds.
func (w *walker) leave(f *frame) {
	for _, l := range f.loads { // of a directory that was moved away
		w.loads--
		if l.abandon() {
			w.run.ahead.Add(-int64(len(l.names)))
			l.drop()
		}
	}
	f.loads = nil
	f.shut()
}

// start walks the source itself.
func (w *walker) start(ctx context.Context) error {
	r := w.run
	host, path := r.src.host, r.src.name
	w.reader.station.at(host)
	defer w.reader.station.at("")
	held, err := w.held.take(ctx, path)
	if err != nil {
		return err
	}
	st, err := statHost(host)
	if err != nil {
		return unreadable(host, err)
	}
	if st.kind != capstan.KindDir {
		return w.single(held)
	}
	l := &load{ticket: newTicket(), host: host, path: path}
	w.reader.load(l)
	if ctx.Err() != nil {
		l.drop()
		return context.Cause(ctx)
	}
	if l.other {
		return unreadable(host, errors.New("it was replaced while the scan began"))
	}
	if l.dir != nil {
		r.root = l.dir.retain()
	}
	return w.enter(ctx, l, held)
}

// single walks a source that is no directory.
func (w *walker) single(held *capstan.Entry) error {
	r := w.run
	host, err := filepath.EvalSymlinks(r.src.host)
	if err != nil {
		return unreadable(r.src.host, err)
	}
	parent, err := openFolder(filepath.Dir(host))
	if err != nil {
		return unreadable(r.src.host, err)
	}
	r.root, r.rootName = parent, filepath.Base(host)
	st, err := parent.lstat(r.rootName)
	if err != nil {
		return unreadable(r.src.host, err)
	}
	r.dev = st.dev
	f := &frame{dir: parent, host: r.src.host, path: r.src.name}
	it := w.newItem(r.src.host, r.src.name, st.kind, held)
	it.name = r.rootName
	w.read(f, it)
	return nil
}

// step walks the next name of the innermost directory, or what the baseline holds
// before it.
func (w *walker) step(ctx context.Context) error {
	f := w.stack[len(w.stack)-1]
	host, path := "", ""
	if f.pos < len(f.names) {
		host, path = w.run.join(f, f.names[f.pos].name)
	}
	missed, err := w.held.missed(ctx, f.path, path)
	switch {
	case err != nil:
		return err
	case missed != nil:
		if f.complete {
			w.deleted(f, missed)
		}
	case path == "":
		w.leave(f)
		w.stack[len(w.stack)-1] = nil
		w.stack = w.stack[:len(w.stack)-1]
		return nil
	default:
		held, err := w.held.take(ctx, path)
		if err == nil {
			f.pos++
			err = w.visit(ctx, f, &f.names[f.pos-1], host, path, held)
		}
		if err != nil {
			return err
		}
	}
	if w.chunk != nil && len(w.chunk.items) >= chunkItems {
		return w.flush(ctx)
	}
	return nil
}

// deleted emits what the baseline holds within f, and f does not.
func (w *walker) deleted(f *frame, held *capstan.Entry) {
	host, _ := w.run.join(f, held.Path[len(f.path)+1:])
	it := w.newItem(host, held.Path, held.Kind, nil)
	it.out.Entry = *held
	it.outcome(capstan.OutcomeDeleted, "")
}

// excluded tells whether a rule leaves out a name, and why.
func (w *walker) excluded(f *frame, path string, n *name) (reason string, excluded bool) {
	if f.cache && n.name != cacheTag {
		return "in a cache directory (" + cacheTag + ")", true
	}
	if pattern, excluded := w.run.src.rules.match(w.run.below(path), n.kind == capstan.KindDir); excluded {
		return fmt.Sprintf("pattern %q", pattern), true
	}
	return "", false
}

// visit walks one name. held is what the baseline holds under it; what lies in
// that is passed over where the walk does not go down.
func (w *walker) visit(ctx context.Context, f *frame, n *name, host, path string, held *capstan.Entry) error {
	reason, excluded := w.excluded(f, path, n)
	switch {
	case excluded:
		w.newItem(host, path, n.kind, nil).outcome(capstan.OutcomeExcluded, reason)
	case n.kind == capstan.KindSocket:
		w.newItem(host, path, n.kind, nil).outcome(capstan.OutcomeExcluded, "socket")
	case !w.reopen(f):
		w.newItem(host, path, n.kind, nil).outcome(capstan.OutcomeVanished, "its directory was moved or removed during the scan")
	case n.kind == capstan.KindDir:
		l, err := w.listing(ctx, f, host, path)
		if err != nil {
			return err
		}
		if !l.other {
			return w.enter(ctx, l, held)
		}
		l.drop()
		w.read(f, w.newItem(host, path, 0, held))
	default:
		w.read(f, w.newItem(host, path, n.kind, held))
	}
	w.held.skip(path)
	return nil
}

// enter emits a directory and goes down into it.
func (w *walker) enter(ctx context.Context, l *load, held *capstan.Entry) error {
	if ctx.Err() != nil { // a load that met the end of ctx says nothing
		l.drop()
		return context.Cause(ctx)
	}
	w.reader.compare(l, held)
	f := &frame{
		dir: l.dir, host: l.host, path: l.path, names: l.names,
		id:       inode{l.entry.Dev, l.entry.Ino},
		complete: l.complete, cache: l.cache,
	}
	l.dir = nil
	l.drop()
	w.newItem(l.host, l.path, capstan.KindDir, nil).out.Entry = l.entry
	if hook := w.run.opt.Hooks.Entries; hook != nil && len(l.names) > 0 {
		hook(len(l.names))
	}
	w.stack = append(w.stack, f)
	if deep := len(w.stack) - 1 - maxDepthOpen; deep >= 0 {
		w.stack[deep].shut()
	}
	w.loadAhead()
	return nil
}

// reopen opens a directory again that was shut on the way down.
func (w *walker) reopen(f *frame) bool {
	if f.dir != nil {
		return true
	}
	w.reader.station.at(f.host)
	defer w.reader.station.at("")
	return f.reopen(w.run)
}

// newItem adds an item to the chunk.
func (w *walker) newItem(host, path string, kind capstan.EntryKind, held *capstan.Entry) *item {
	if w.chunk == nil {
		w.chunk = newChunk()
	}
	w.seq++
	w.chunk.items = append(w.chunk.items, item{
		host: host, name: baseOf(path), held: held, seq: w.seq,
		out: capstan.Item{Entry: capstan.Entry{Path: path, Kind: kind}},
	})
	return &w.chunk.items[len(w.chunk.items)-1]
}

// read has an item read that lies in f.
func (w *walker) read(f *frame, it *item) {
	it.folder = f.dir.retain()
	w.chunk.work = true
}

// flush passes the chunk on, once the budget allows it.
func (w *walker) flush(ctx context.Context) error {
	c := w.chunk
	if c == nil {
		return nil
	}
	for i := range c.items {
		it := &c.items[i]
		c.cost += entryCost + int64(len(it.host))
		if k := it.out.Entry.Kind; it.folder != nil && (k == capstan.KindFile || k == 0) {
			c.cost += smallContent
		}
	}
	if err := w.run.budget.acquire(ctx, c.cost); err != nil {
		return err
	}
	if !c.work && c.take() {
		c.finish()
	}
	select {
	case w.run.chunks <- c:
		w.chunk = nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !c.work {
		return nil
	}
	select {
	case w.run.work <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
