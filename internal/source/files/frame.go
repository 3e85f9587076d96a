package files

import (
	"context"
	"os"
	"slices"
	"strings"

	"capstan"
)

// frame is a directory on the way down.
type frame struct {
	dir        *folder // a reference; nil while it is closed, or where there is nothing to read
	id         inode
	host, path string
	names      []name
	pos        int
	held       []capstan.Entry // some that the baseline holds, in byte order
	heldPos    int
	heldMore   bool // whether others may come after them
	complete   bool
	cache      bool
	gone       bool // it could not be opened again

	loads    []*load // of its next subdirectories
	loadNext int     // index of the first name that was not considered for loading
}

// refill asks the baseline for more when all it gave has been walked.
func (f *frame) refill(ctx context.Context, r *run) (err error) {
	if f.heldPos < len(f.held) || !f.heldMore {
		return nil
	}
	last := baseOf(f.held[len(f.held)-1].Path)
	f.held, f.heldMore, err = r.children(ctx, f.path, last)
	f.heldPos = 0
	return err
}

// next merges the names with what the baseline holds.
func (f *frame) next() (n *name, held *capstan.Entry) {
	if f.pos < len(f.names) {
		n = &f.names[f.pos]
	}
	if f.heldPos < len(f.held) {
		held = &f.held[f.heldPos]
	}
	if n != nil && held != nil {
		switch c := strings.Compare(n.name, baseOf(held.Path)); {
		case c < 0:
			held = nil
		case c > 0:
			n = nil
		}
	}
	if n != nil {
		f.pos++
	}
	if held != nil {
		f.heldPos++
	}
	return n, held
}

// heldUnder gives what the baseline has under a name that is still to come; known
// is false when it has not been asked for names so far ahead.
func (f *frame) heldUnder(name string) (held *capstan.Entry, known bool) {
	i, found := slices.BinarySearchFunc(f.held, name, func(e capstan.Entry, name string) int { return strings.Compare(baseOf(e.Path), name) })
	if !found {
		return nil, i < len(f.held) || !f.heldMore
	}
	return &f.held[i], true
}

// shut lets go of a directory that the walk comes back to much later.
func (f *frame) shut() {
	if f.dir != nil {
		f.dir.release()
		f.dir = nil
	}
}

// reopen opens f again, if it is still the same directory.
func (f *frame) reopen(r *run) bool {
	if f.gone {
		return false
	}
	dir, err := r.root.descend(r.below(f.path))
	if err == nil {
		var st stat
		if st, err = dir.stat(); err == nil && st.inode() == f.id {
			f.dir = dir
			return true
		}
		dir.release()
	}
	f.gone = true
	return false
}

// join gives the absolute path of a name in f, and the emitted one. The second
// is a part of the first where the source kept its name, to save memory.
func (r *run) join(f *frame, name string) (host, path string) {
	separator := string(os.PathSeparator)
	if strings.HasSuffix(f.host, separator) {
		separator = ""
	}
	host = f.host + separator + name
	cut := len(r.src.host) - len(r.src.name)
	if cut > 0 && os.PathSeparator == '/' && r.src.host[cut:] == r.src.name && r.src.host[cut-1] == '/' {
		return host, host[cut:]
	}
	return host, f.path + "/" + name
}
