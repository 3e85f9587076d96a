package files

import (
	"os"
	"strings"
)

// frame is a directory on the way down.
type frame struct {
	dir        *folder // a reference; nil while it is closed, or where there is nothing to read
	id         inode
	host, path string
	names      []name
	pos        int
	complete   bool
	cache      bool
	gone       bool // it could not be opened again

	loads    []*load // of its next subdirectories
	loadNext int     // index of the first name that was not considered for loading
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
