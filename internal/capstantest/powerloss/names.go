package powerloss

import (
	"maps"
	"math/rand/v2"
	"path"
)

// names are the entries of all directories at one moment.
type names map[Entry]uint64

// apply carries a record about names out. What stands in its way is replaced, and
// what it takes away need not be there: records before it may have been lost.
func (ns names) apply(r Record) {
	switch r.Kind {
	case Create, Mkdir, Link:
		ns[r.In] = r.Node
	case Unlink:
		if ns[r.In] == r.Node {
			delete(ns, r.In)
		}
	case Rename:
		if ns[r.In] == r.Node {
			delete(ns, r.In)
		} else { // an earlier rename was lost: what bears a name bears no other
			maps.DeleteFunc(ns, func(_ Entry, node uint64) bool { return node == r.Node })
		}
		ns[r.To] = r.Node
	case Exchange:
		ns[r.In], ns[r.To] = r.Other, r.Node
	default:
	}
}

// isName reports whether a record changes names.
func (r Record) isName() bool {
	switch r.Kind {
	case Create, Mkdir, Link, Unlink, Rename, Exchange:
		return true
	default:
		return false
	}
}

// dirs are the directories whose names a record changes.
func (r Record) dirs() []uint64 {
	if r.To.Dir != 0 && r.To.Dir != r.In.Dir {
		return []uint64{r.In.Dir, r.To.Dir}
	}
	return []uint64{r.In.Dir}
}

// named finds the paths of all records.
func (l *Log) named() *Log {
	at := map[uint64]Entry{} // where each was last seen
	full := func(e Entry) string {
		text := e.Name
		for e.Dir != Root && e.Dir != 0 {
			e = at[e.Dir]
			text = path.Join(e.Name, text)
		}
		return text
	}
	l.paths = make([]string, len(l.Records))
	for i, r := range l.Records {
		switch {
		case r.Kind == Rename:
			at[r.Node] = r.To
		case r.Kind == Exchange:
			at[r.Node], at[r.Other] = r.To, r.In
		case r.isName() && r.Kind != Unlink:
			at[r.Node] = r.In
		}
		where := at[r.Node]
		if r.Kind == Unlink || r.Kind == Link {
			where = r.In
		}
		l.paths[i] = full(where)
	}
	return l
}

// keptNames says which of the records about names outlive the loss of power after
// the first n.
func (l *Log) keptNames(n int, mood Mood, random *rand.Rand) []bool {
	kept := make([]bool, n)
	l.syncedNames(n, kept)
	cuts := map[uint64]int{}
	for i, r := range l.Records[:n] {
		if !r.isName() || kept[i] {
			continue
		}
		switch mood {
		case All:
			kept[i] = true
		case Each:
			kept[i] = random.IntN(2) == 0
		case Order:
			kept[i] = true
			for _, dir := range r.dirs() {
				if _, ok := cuts[dir]; !ok {
					cuts[dir] = i + random.IntN(n-i+1)
				}
				kept[i] = kept[i] && i < cuts[dir]
			}
		default:
		}
	}
	if mood == Order {
		l.inOrder(kept)
	}
	return kept
}

// syncedNames marks the records that a sync of a directory has made durable.
func (l *Log) syncedNames(n int, kept []bool) {
	pending := map[uint64][]int{}
	for i, r := range l.Records[:n] {
		if r.isName() {
			for _, dir := range r.dirs() {
				pending[dir] = append(pending[dir], i)
			}
		}
		if r.Kind != SyncDir {
			continue
		}
		var late []int
		for _, p := range pending[r.Node] {
			if p < r.Before {
				kept[p] = true
			} else {
				late = append(late, p)
			}
		}
		pending[r.Node] = late
	}
}

// inOrder keeps also what came before something that is kept, in the same
// directory.
func (l *Log) inOrder(kept []bool) {
	needs := map[uint64]bool{}
	for i := len(kept) - 1; i >= 0; i-- {
		r := l.Records[i]
		if !r.isName() {
			continue
		}
		for _, dir := range r.dirs() {
			kept[i] = kept[i] || needs[dir]
		}
		for _, dir := range r.dirs() {
			needs[dir] = needs[dir] || kept[i]
		}
	}
}
