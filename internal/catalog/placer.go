package catalog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"

	"capstan"
)

// placer turns batches into rows. It has two ways. In a set that was empty when
// the writer started, rows are inserted as they come: a path that comes twice
// breaks the primary key, the transaction is undone, and the batch is placed
// again the careful way, which first looks what is there and removes it. A set
// that holds entries (a resumed one) is written the careful way from the start.
type placer struct {
	set     capstan.SetID
	phase   int64
	no      int64 // of the set; 0 before the first batch
	careful bool

	origins   map[origin]int64 // committed ones
	fresh     map[origin]int64 // of the transaction under way
	dirs      *pathIDs
	implied   map[string]bool // directories whose own entry has not come yet
	nextDir   int64
	hasPieces bool
	held      map[int32]int64 // rows that the transaction adds to each archive

	entries, newDirs, notable inserter
	scratch                   []byte              // attributes of the rows in entries
	pending                   map[string]struct{} // keys of the rows in entries, when careful
	group                     group

	lastPath []byte // of the directory that was asked for last
	lastDir  int64
	argDir   int64 // dirArg is this, as an argument
	dirArg   any
}

// maxImplied bounds what is remembered of directories whose entry is to come;
// beyond it the careful way looks into the catalog instead.
const maxImplied = 1 << 14

// rootDir is the id of a set's root, and of its parent.
const rootDir int64 = 0

func newPlacer(set capstan.SetID, phase int64) placer {
	return placer{
		set: set, phase: phase,
		origins: map[origin]int64{}, fresh: map[origin]int64{}, dirs: newPathIDs(), implied: map[string]bool{},
		held: map[int32]int64{}, pending: map[string]struct{}{},
		entries: newInserter(sqlInsertEntries, sqlEntryRow),
		newDirs: newInserter(sqlInsertDirs, sqlDirRow),
		notable: newInserter(sqlInsertNotables, sqlNotableRow),
	}
}

// place writes a batch within a transaction. After an error nothing that it
// remembers counts any more, but for becomeCareful.
func (p *placer) place(t *tx, b *batch) error {
	if err := p.start(t); err != nil {
		return err
	}
	numbers, err := p.originNumbers(t, b)
	if err != nil {
		return err
	}
	splits := b.splits
	for i := range b.rows {
		if i&1023 == 0 && t.ctx.Err() != nil {
			return t.ctx.Err()
		}
		r := &b.rows[i]
		item := placed{row: r, path: b.pathOf(r), attrs: b.attrsOf(r), origin: numbers[r.origin]}
		for len(splits) > 0 && int(splits[0].row) == i {
			item.pieces = append(item.pieces, splits[0].archive)
			splits = splits[1:]
		}
		if p.careful {
			err = p.collect(t, item)
		} else {
			err = p.insertNew(t, item)
		}
		if err != nil {
			return err
		}
	}
	if err := p.placeGroup(t); err != nil {
		return err
	}
	if err := p.flush(t); err != nil {
		return err
	}
	return p.countHeld(t)
}

// placed is a row on its way into the tables.
type placed struct {
	row    *row
	path   []byte
	attrs  []byte
	origin int64
	pieces []int32
}

// start finds the set, and the next id of a directory.
func (p *placer) start(t *tx) error {
	p.entries.reset()
	p.newDirs.reset()
	p.notable.reset()
	p.scratch = p.scratch[:0]
	p.group.reset()
	clear(p.fresh)
	clear(p.held)
	clear(p.pending)
	p.lastPath, p.lastDir = p.lastPath[:0], rootDir
	p.argDir, p.dirArg = rootDir, rootDir
	set, found, err := anyPhase(t.ctx, t, p.set)
	no := set.no
	switch {
	case err != nil:
		return err
	case !found, set.phase != p.phase, p.no != 0 && p.no != no:
		return unknownSet(p.set)
	case set.phase == phaseThere && finishedStatus(set.status):
		return finishedSet(p.set, set.status)
	}
	if p.no == 0 {
		if p.careful, err = t.one(sqlHasEntries, with(no), new(int64)); err != nil {
			return err
		}
		if p.hasPieces, err = t.one(sqlHasPieces, with(no), new(int64)); err != nil {
			return err
		}
		p.no = no
	}
	if _, err := t.one(sqlLastDir, with(no), &p.nextDir); err != nil {
		return err
	}
	p.nextDir++
	p.entries.first, p.newDirs.first, p.notable.first = any(no), any(no), any(no)
	return nil
}

// becomeCareful switches to the way that expects paths to be there already; it
// reports false if that way was taken before.
func (p *placer) becomeCareful() bool {
	was := p.careful
	p.careful = true
	p.dirs.reset()
	clear(p.implied)
	return !was
}

// committed keeps what the transaction made.
func (p *placer) committed() {
	maps.Copy(p.origins, p.fresh)
	clear(p.fresh)
	if len(p.implied) > maxImplied {
		p.becomeCareful()
	}
}

func (p *placer) originNumbers(t *tx, b *batch) ([]int64, error) {
	numbers := make([]int64, len(b.origins))
	for i, o := range b.origins {
		no, ok := p.origins[o]
		if !ok {
			no, ok = p.fresh[o]
		}
		if !ok {
			var err error
			if no, err = t.originNo(o); err != nil {
				return nil, err
			}
			p.fresh[o] = no
		}
		numbers[i] = no
	}
	return numbers, nil
}

// insertNew places a row whose path is thought to be new.
func (p *placer) insertNew(t *tx, item placed) error {
	parent, name := splitBytes(item.path)
	dir, err := p.dirOf(t, parent)
	if err != nil {
		return err
	}
	var child int64
	if item.row.kind == capstan.KindDir {
		if p.implied[string(item.path)] {
			if child, err = p.replaceImplied(t, dir, name, item.path); err != nil {
				return err
			}
		} else {
			child, err = p.newDir(t, dir, name, item.path)
		}
	}
	if err != nil {
		return err
	}
	return p.insert(t, dir, name, child, item)
}

// replaceImplied removes the row of a directory whose own entry has come now,
// and gives the directory's id.
func (p *placer) replaceImplied(t *tx, dir int64, name, path []byte) (int64, error) {
	child, err := p.dirOf(t, path)
	if err == nil {
		err = p.flush(t)
	}
	if err == nil {
		_, err = t.exec(sqlDeleteEntry, p.no, dir, name)
	}
	delete(p.implied, string(path))
	return child, err
}

// insert adds the rows of one entry. child is the id of a directory, else 0.
func (p *placer) insert(t *tx, dir int64, name []byte, child int64, item placed) error {
	r := item.row
	at := len(p.scratch)
	p.scratch = binary.AppendUvarint(p.scratch, uint64(item.origin))
	p.scratch = append(p.scratch, item.attrs...)
	var childArg any
	if child != 0 {
		childArg = child
	}
	if dir != p.argDir {
		p.argDir, p.dirArg = dir, dir
	}
	if p.careful {
		p.pending[pendingKey(dir, name)] = struct{}{}
	}
	if r.archive != 0 {
		p.held[r.archive]++
	}
	err := p.entries.add(t, p.dirArg, name, int64(r.kind), int64(r.outcome), int64(r.archive), r.size, childArg, p.scratch[at:len(p.scratch):len(p.scratch)])
	if err != nil {
		return err
	}
	if p.entries.n == 0 {
		p.scratch = p.scratch[:0]
		clear(p.pending)
	}
	if isNotable(r.outcome) {
		if err := p.notable.add(t, int64(r.outcome), dir, name); err != nil {
			return err
		}
	}
	for _, archive := range item.pieces {
		p.hasPieces = true
		if _, err := t.exec(sqlInsertPiece, p.no, dir, name, int64(archive)); err != nil {
			return err
		}
	}
	return nil
}

// isNotable reports whether an outcome is listed in the table of that name.
func isNotable(o capstan.Outcome) bool {
	return o != 0 && o != capstan.OutcomeStored && o != capstan.OutcomeUnchanged
}

func (p *placer) flush(t *tx) error {
	if err := p.entries.flush(t); err != nil {
		return err
	}
	p.scratch = p.scratch[:0]
	clear(p.pending)
	if err := p.newDirs.flush(t); err != nil {
		return err
	}
	return p.notable.flush(t)
}

func (p *placer) countHeld(t *tx) error {
	for archive, n := range p.held {
		if n == 0 {
			continue
		}
		touched, err := t.exec(sqlAddHeld, n, p.no, int64(archive))
		if err != nil {
			return err
		}
		if touched == 0 {
			return fmt.Errorf("entries of set %s name archive %d, which is not planned", p.set, archive)
		}
	}
	return nil
}

func splitBytes(path []byte) (dir, name []byte) {
	if i := bytes.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return nil, path
}
