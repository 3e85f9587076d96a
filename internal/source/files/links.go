package files

import (
	"sync"

	"capstan"
)

// linkTable knows the files with several names. Readers ask it whether a name's
// content is worth reading; the goroutine that emits decides, in order. A file
// is forgotten when as many names were emitted as it has.
type linkTable struct {
	mu    sync.Mutex
	files map[inode]*linkedFile
}

type linkedFile struct {
	claim int64      // the earliest item whose content a reader has taken
	held  linkHolder // what was emitted
	first string     // path of the name that holds the content
	own   bool       // an archive of the set being written holds it, not of an earlier set
	seen  uint32     // names emitted
}

type linkHolder uint8

const (
	holderNone linkHolder = iota
	holderStored
	holderUnchanged
)

// verdict is what a name of a linked file is to be emitted as.
type verdict uint8

const (
	asContent   verdict = iota // with the content
	asLink                     // another name of the first one
	asUnchanged                // what the baseline holds
)

// claim tells a reader whether to read the content of the item at seq: not when
// an earlier name was emitted with it, or is being read.
func (t *linkTable) claim(id inode, seq int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[id]
	if f == nil {
		f = &linkedFile{claim: seq}
		t.files[id] = f
		return true
	}
	if f.held == holderStored || f.held == holderNone && f.claim < seq {
		return false
	}
	f.claim = seq
	return true
}

// decide settles one name; it must be called in the order of emission. An item
// that is to come with its content but was not read is not counted: it comes
// again once it was read.
func (t *linkTable) decide(it *item) (as verdict, first string) {
	e := &it.out.Entry
	id := inode{e.Dev, e.Ino}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[id]
	if f == nil {
		f = &linkedFile{claim: it.seq}
		t.files[id] = f
	}
	as = f.verdict(it)
	if as == asContent && it.unread {
		return as, ""
	}
	switch {
	case as == asContent:
		f.held, f.first = holderStored, e.Path
	case as == asUnchanged && f.held == holderNone:
		// A link never points into another set: who extracts a set alone would miss it.
		f.held, f.first, f.own = holderUnchanged, e.Path, it.held.Archive != 0
	}
	if f.seen++; f.seen >= e.Links {
		delete(t.files, id)
	}
	return as, f.first
}

func (f *linkedFile) verdict(it *item) verdict {
	switch f.held {
	case holderStored:
		return asLink
	case holderUnchanged:
		if it.same && (it.held.Kind == capstan.KindFile || it.held.Link == f.first) {
			return asUnchanged
		}
		if f.own {
			return asLink
		}
	case holderNone:
		if it.same && it.held.Kind == capstan.KindFile {
			return asUnchanged
		}
	}
	return asContent
}
