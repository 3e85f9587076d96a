package catalog

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"strings"

	"capstan"
)

// group is a run of rows of one directory, whose names are looked up together.
type group struct {
	parent []byte
	items  []placed
	names  map[string]struct{}
}

func (g *group) reset() {
	g.items = g.items[:0]
	if g.names == nil {
		g.names = map[string]struct{}{}
	}
	clear(g.names)
}

// taken is what the catalog holds under a name that comes again.
type taken struct {
	outcome capstan.Outcome
	archive int32
	child   int64
}

// nameLists are the lengths of lists of names in statements, so that few
// statements serve all; a shorter list is filled up with its last name.
func nameLists() []int { return []int{1, 4, 16, insertRows} }

func nameQuery(prefix string, names int) (query string, padded int) {
	for _, padded = range nameLists() {
		if padded >= names {
			break
		}
	}
	return prefix + strings.TrimSuffix(strings.Repeat("?, ", padded), ", ") + ")", padded
}

func pendingKey(dir int64, name []byte) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(dir))) + string(name)
}

// collect places a row whose path may be there already, with its neighbours.
func (p *placer) collect(t *tx, item placed) error {
	parent, name := splitBytes(item.path)
	_, again := p.group.names[string(name)]
	if len(p.group.items) > 0 && (again || len(p.group.items) == insertRows || !bytes.Equal(parent, p.group.parent)) {
		if err := p.placeGroup(t); err != nil {
			return err
		}
	}
	p.group.parent = parent
	p.group.items = append(p.group.items, item)
	p.group.names[string(name)] = struct{}{}
	return nil
}

// placeGroup replaces what the catalog holds under the group's names.
func (p *placer) placeGroup(t *tx) error {
	if len(p.group.items) == 0 {
		return nil
	}
	dir, err := p.dirOf(t, p.group.parent)
	if err != nil {
		return err
	}
	names := make([]any, len(p.group.items))
	for i, item := range p.group.items {
		_, name := splitBytes(item.path)
		names[i] = name
		if _, waits := p.pending[pendingKey(dir, name)]; waits {
			if err := p.flush(t); err != nil {
				return err
			}
		}
	}
	old, err := p.removeTaken(t, dir, names)
	if err != nil {
		return err
	}
	for i, item := range p.group.items {
		name, _ := names[i].([]byte)
		child := old[string(name)].child
		isDir := item.row.kind == capstan.KindDir
		switch {
		case isDir && child == 0:
			child, err = p.newDir(t, dir, name, item.path)
		case isDir:
			p.dirs.put(string(item.path), child)
		}
		if err == nil {
			err = p.insert(t, dir, name, child, item)
		}
		if err != nil {
			return err
		}
	}
	p.group.reset()
	return nil
}

// removeTaken removes the rows of the names in a directory and tells what they were.
func (p *placer) removeTaken(t *tx, dir int64, names []any) (map[string]taken, error) {
	query, padded := nameQuery(sqlTakenNames, len(names))
	args := append(with(p.no, dir), names...)
	for range padded - len(names) {
		args = append(args, names[len(names)-1])
	}
	var old map[string]taken
	err := each(t.ctx, t, query, args, func(rows *sql.Rows) error {
		var name []byte
		var row taken
		var child *int64
		if err := rows.Scan(&name, &row.outcome, &row.archive, &child); err != nil {
			return err
		}
		if child != nil {
			row.child = *child
		}
		if old == nil {
			old = make(map[string]taken, len(names))
		}
		old[string(name)] = row
		return nil
	})
	if err != nil || len(old) == 0 {
		return nil, err
	}
	query, _ = nameQuery(sqlDeleteNames, len(names))
	if _, err := t.exec(query, args...); err != nil {
		return nil, err
	}
	if p.hasPieces {
		query, _ = nameQuery(sqlDropPieces, len(names))
		if _, err := t.exec(query, args...); err != nil {
			return nil, err
		}
	}
	return old, p.discount(t, dir, old)
}

// discount takes removed rows out of what is derived from them.
func (p *placer) discount(t *tx, dir int64, old map[string]taken) error {
	flushed := false
	for name, row := range old {
		if row.archive != 0 {
			p.held[row.archive]--
		}
		if !isNotable(row.outcome) {
			continue
		}
		if !flushed { // it may be among those that were not written yet
			if err := p.notable.flush(t); err != nil {
				return err
			}
			flushed = true
		}
		if _, err := t.exec(sqlDeleteNotable, p.no, int64(row.outcome), dir, []byte(name)); err != nil {
			return err
		}
	}
	return nil
}
