package catalog

import "context"

// ahead are rows of directories that a walk has not come to yet. The ids of
// directories mostly ascend in the order of a walk, so that one query gives the
// rows of many small directories.
type ahead struct {
	page     int      // rows that are read at once
	rows     []stored // by directory and name
	from, to int64    // directories between these, without them, are read to their ends
	end      pageEnd
	used     int // rows that the walk took
	dropped  int // and those that were read for nothing
}

// trusted reports whether reading ahead has paid so far: in a set that was written
// in pieces the ids may be in another order.
func (a *ahead) trusted() bool { return a.dropped <= a.used+a.page }

// take gives the rows of a directory if they are there; more says that there may
// be further ones, after the name.
func (a *ahead) take(dir int64) (rows []stored, more bool, after string, ok bool) {
	if dir <= a.from || dir > a.to {
		return nil, false, "", false
	}
	first := 0
	for first < len(a.rows) && a.rows[first].dir < dir {
		first++
	}
	last := first
	for last < len(a.rows) && a.rows[last].dir == dir {
		last++
	}
	rows, a.rows = a.rows[first:last:last], a.rows[last:]
	a.from = dir // what lies before is not wanted again, or asked for anew
	a.dropped += first
	a.used += len(rows)
	if dir == a.to {
		return rows, a.end.read == a.page, a.end.name, true
	}
	return rows, false, "", true
}

// read asks for a directory's rows and those of the ones after it.
func (a *ahead) read(ctx context.Context, v *view, dir int64) error {
	a.dropped += len(a.rows)
	var err error
	a.rows, a.end, err = v.rows(ctx, sqlPageOn, v.no, dir, []byte{}, a.page)
	// A page that is not full holds all that there is, also of directories without rows.
	a.from, a.to = dir-1, a.end.dir
	if a.end.read < a.page {
		a.to = max(a.to, dir)
	}
	return err
}
