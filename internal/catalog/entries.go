package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strings"

	"capstan"
)

// view is what a reader may see of a set.
type view struct {
	c        *Catalog
	set      capstan.SetID
	no       int64
	finished bool // all its archives are committed, and stay so
}

func (c *Catalog) view(ctx context.Context, id capstan.SetID) (*view, error) {
	row, err := c.findSet(ctx, id)
	if err != nil {
		return nil, err
	}
	return &view{c: c, set: id, no: row.no, finished: finishedStatus(row.set.Status)}, nil
}

// stored is a row of entries.
type stored struct {
	dir   int64
	child int64 // 0: none
	name  string
	entry capstan.Entry // without Path
}

// implicit reports whether the row stands for a directory whose own entry the
// set does not hold.
func (s *stored) implicit() bool { return s.entry.Outcome == 0 }

// pageEnd says how far a query came: how many rows it read, hidden ones
// included, and the key of the last.
type pageEnd struct {
	read int
	dir  int64
	name string
}

// rows reads rows of entries. An archive is committed after its entries, so
// asking for the uncommitted ones after the rows hides all that must be hidden.
func (v *view) rows(ctx context.Context, query string, args ...any) (list []stored, end pageEnd, err error) {
	var origins []int64
	err = each(ctx, v.c.reads, query, args, func(rows *sql.Rows) error {
		row, originNo, err := scanEntry(rows)
		list, origins = append(list, row), append(origins, originNo)
		return err
	})
	if err != nil {
		return nil, end, err
	}
	if end.read = len(list); end.read > 0 {
		end.dir, end.name = list[end.read-1].dir, list[end.read-1].name
	}
	hidden, err := v.hidden(ctx)
	if err != nil {
		return nil, end, err
	}
	kept := list[:0]
	for i := range list {
		row := list[i]
		if hides(hidden, &row.entry) {
			continue
		}
		if origins[i] != 0 {
			o, err := v.c.origin(ctx, v.c.reads, origins[i])
			if err != nil {
				return nil, end, err
			}
			row.entry.UID, row.entry.GID, row.entry.User, row.entry.Group, row.entry.Dev = o.uid, o.gid, o.user, o.group, o.dev
		}
		kept = append(kept, row)
	}
	return kept, end, nil
}

// still fails when the set was deleted meanwhile: what was read of it may then
// not be all.
func (v *view) still(ctx context.Context) error {
	there, err := one(ctx, v.c.reads, sqlStillThere, with(v.no), new(int64))
	if err == nil && !there {
		err = unknownSet(v.set)
	}
	return err
}

// hidden gives the archives of the set that are not committed.
func (v *view) hidden(ctx context.Context) (map[capstan.ArchiveNumber]bool, error) {
	if v.finished {
		return nil, nil
	}
	var hidden map[capstan.ArchiveNumber]bool
	err := each(ctx, v.c.reads, sqlUncommitted, with(v.no), func(rows *sql.Rows) error {
		var number capstan.ArchiveNumber
		if hidden == nil {
			hidden = map[capstan.ArchiveNumber]bool{}
		}
		err := rows.Scan(&number)
		hidden[number] = true
		return err
	})
	return hidden, err
}

func hides(hidden map[capstan.ArchiveNumber]bool, e *capstan.Entry) bool {
	if len(hidden) == 0 {
		return false
	}
	if len(e.Parts) == 0 {
		return hidden[e.Archive]
	}
	for _, part := range e.Parts {
		if hidden[part.Archive] {
			return true
		}
	}
	return false
}

func scanEntry(rows *sql.Rows) (row stored, originNo int64, err error) {
	var name, attrs sql.RawBytes
	var child sql.NullInt64
	var kind, outcome uint8
	e := &row.entry
	if err := rows.Scan(&row.dir, &name, &kind, &outcome, &e.Archive, &e.Size, &child, &attrs); err != nil {
		return row, 0, err
	}
	row.name, row.child = string(name), child.Int64
	e.Kind, e.Outcome = capstan.EntryKind(kind), capstan.Outcome(outcome)
	if len(attrs) == 0 || outcome == 0 {
		return row, 0, nil
	}
	if originNo, err = unpackAttrs(attrs, e); err != nil {
		err = fmt.Errorf("entry %q: %w: %w", row.name, err, capstan.ErrDamaged)
	}
	return row, originNo, err
}

// find looks a path up; false when the set has nothing there. The root is found
// as a row with child 0.
func (v *view) find(ctx context.Context, path string) (row stored, found bool, err error) {
	if path == "" {
		row.entry.Kind = capstan.KindDir
		return row, true, nil
	}
	if !validPath(path) {
		return row, false, nil
	}
	above, name := capstan.SplitPath(path)
	dir, found, err := v.dir(ctx, above)
	if err != nil || !found {
		return row, false, err
	}
	list, _, err := v.rows(ctx, sqlEntry, v.no, dir, []byte(name))
	if err != nil || len(list) == 0 {
		return row, false, err
	}
	list[0].entry.Path = path
	return list[0], true, nil
}

// dir gives the id of a directory, by its components from the root.
func (v *view) dir(ctx context.Context, path string) (id int64, found bool, err error) {
	for path != "" {
		name, rest, _ := strings.Cut(path, "/")
		var child sql.NullInt64
		found, err := one(ctx, v.c.reads, sqlChildOf, with(v.no, id, []byte(name)), &child)
		if err != nil || !found || !child.Valid {
			return 0, false, err
		}
		id, path = child.Int64, rest
	}
	return id, true, nil
}

// Entry gives the entry of a path, whatever its outcome; found is false when the
// set has none that may be seen. A directory that is known only because
// something lies in it is found with outcome 0.
func (c *Catalog) Entry(ctx context.Context, set capstan.SetID, path string) (entry capstan.Entry, found bool, err error) {
	v, err := c.view(ctx, set)
	if err == nil && path != "" {
		var row stored
		row, found, err = v.find(ctx, path)
		entry = row.entry
	}
	if err != nil || !found {
		return capstan.Entry{}, false, c.failed(ctx, "look up an entry of set "+string(set), err)
	}
	return entry, true, nil
}

// Children lists the entries directly within a directory by name, whatever
// their outcomes, with their whole paths; "" lists the sources' own names. It
// gives nothing for a directory that is not there. A directory that is known only
// because something lies in it has outcome 0.
//
// The result holds all of the directory in memory; ChildrenAfter does not.
func (c *Catalog) Children(ctx context.Context, set capstan.SetID, dir string) (entries []capstan.Entry, err error) {
	for entry, err := range c.ChildrenAfter(ctx, set, dir, "") {
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// ChildrenAfter yields what Children lists, from the first name on that comes
// after the given one. It holds a page of rows in memory, and no lock between two
// entries. What is added to the set meanwhile may be yielded or not.
func (c *Catalog) ChildrenAfter(ctx context.Context, set capstan.SetID, dir, after string) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		if err := c.childrenAfter(ctx, set, dir, after, yield); err != nil {
			yield(capstan.Entry{}, c.failed(ctx, "list a directory of set "+string(set), err))
		}
	}
}

// childrenAfter ends without an error when the consumer wants no more.
func (c *Catalog) childrenAfter(ctx context.Context, set capstan.SetID, dir, after string, yield func(capstan.Entry, error) bool) error {
	v, err := c.view(ctx, set)
	if err != nil {
		return err
	}
	id, found, err := v.dir(ctx, dir)
	if err != nil || !found {
		return err
	}
	// Whoever merges the sets of a chain page by page takes but a few of each.
	page := walkPage / 8
	for more := true; more; page = min(4*page, walkPage) {
		rows, end, err := v.rows(ctx, sqlPage, v.no, id, []byte(after), page)
		if err != nil {
			return err
		}
		more, after = end.read == page, end.name
		for i := range rows {
			entry := rows[i].entry
			entry.Path = capstan.JoinPath(dir, rows[i].name)
			if !yield(entry, nil) {
				return nil
			}
		}
	}
	return v.still(ctx)
}
