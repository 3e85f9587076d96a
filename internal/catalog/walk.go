package catalog

import (
	"context"
	"errors"
	"iter"

	"capstan"
)

const (
	walkPage  = 256  // rows of one directory that are read at once
	leastPage = 16   // of a walk that is one of very many
	walksRows = 4096 // that walks beside each other read at once, together, as long as they are not so many
	walkKept  = 8    // innermost directories whose read rows are kept while deeper ones are walked
)

// Walk yields the entries of a set in the order of capstan.ComparePaths, those
// of all outcomes: all of them, or root and what lies below it. A directory that
// is known only because something lies in it is not yielded. capstan.ErrNotFound
// is yielded for a root that is not there.
//
// Memory: a few thousand entries at any depth and size. No lock is held between
// two entries. What is added to the set meanwhile may be yielded or not; when the
// set is deleted meanwhile, the last thing yielded is capstan.ErrNotFound.
func (c *Catalog) Walk(ctx context.Context, set capstan.SetID, root string) iter.Seq2[capstan.Entry, error] {
	return c.WalkBeside(ctx, set, root, 1)
}

// WalkBeside is Walk for one of so many walks that go on side by side: they take less
// memory each, the more there are, and more queries.
func (c *Catalog) WalkBeside(ctx context.Context, set capstan.SetID, root string, walks int) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		fail := func(err error) { yield(capstan.Entry{}, c.failed(ctx, "walk set "+string(set), err)) }
		v, err := c.view(ctx, set)
		if err != nil {
			fail(err)
			return
		}
		row, found, err := v.find(ctx, root)
		if err == nil && !found {
			err = &capstan.Error{
				Class: capstan.ErrNotFound, Op: "path", Object: root, Err: errors.New("set " + string(set) + " does not hold it"),
				Next: "see: capstan ls " + string(set),
			}
		}
		if err != nil {
			fail(err)
			return
		}
		if root != "" && !row.implicit() && !yield(row.entry, nil) {
			return
		}
		if root == "" || row.child != 0 {
			page := max(leastPage, min(walkPage, walksRows/max(walks, 1)))
			w := &walker{view: v, page: page, ahead: ahead{page: page}, stack: []frame{{dir: row.child, path: root, more: true}}}
			if err := w.walk(ctx, yield); err != nil {
				fail(err)
			}
		}
	}
}

// walker goes through a tree depth-first.
type walker struct {
	*view
	page  int // rows that are read at once
	stack []frame
	ahead ahead
}

// frame is a directory on the way from the root to the current entry.
type frame struct {
	dir   int64
	path  string
	rows  []stored // read and not yet yielded
	after string   // name after which reading goes on
	more  bool     // whether there may be rows after it
}

// walk ends without an error when the consumer wants no more.
func (w *walker) walk(ctx context.Context, yield func(capstan.Entry, error) bool) error {
	for len(w.stack) > 0 {
		top := &w.stack[len(w.stack)-1]
		if len(top.rows) == 0 {
			if !top.more {
				w.stack = w.stack[:len(w.stack)-1]
				continue
			}
			if err := w.fill(ctx, top); err != nil {
				return err
			}
			continue
		}
		row := &top.rows[0]
		top.rows = top.rows[1:]
		path := capstan.JoinPath(top.path, row.name)
		child := row.child
		if !row.implicit() {
			row.entry.Path = path
			if !yield(row.entry, nil) {
				return nil
			}
		}
		if child != 0 {
			w.push(child, path)
		}
	}
	return w.still(ctx)
}

func (w *walker) fill(ctx context.Context, f *frame) error {
	if f.after == "" {
		rows, more, after, ok := w.ahead.take(f.dir)
		if !ok && w.ahead.trusted() {
			if err := w.ahead.read(ctx, w.view, f.dir); err != nil {
				return err
			}
			rows, more, after, ok = w.ahead.take(f.dir)
		}
		if ok {
			f.rows, f.more, f.after = rows, more, after
			return nil
		}
	}
	rows, end, err := w.rows(ctx, sqlPage, w.no, f.dir, []byte(f.after), w.page)
	f.rows, f.more = rows, end.read == w.page
	if f.more {
		f.after = end.name
	}
	return err
}

// push enters a directory. What was read of one far above is dropped, and read
// again on the way back: a tree may be thousands deep.
func (w *walker) push(dir int64, path string) {
	if far := len(w.stack) - walkKept; far >= 0 {
		if f := &w.stack[far]; len(f.rows) > 0 {
			f.after, f.more, f.rows = w.stack[far+1].name(), true, nil
		}
	}
	w.stack = append(w.stack, frame{dir: dir, path: path, more: true})
}

// name is the directory's own name: the last one that was taken of its parent.
func (f *frame) name() string {
	_, name := capstan.SplitPath(f.path)
	return name
}
