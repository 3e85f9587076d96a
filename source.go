package capstan

import (
	"context"
	"io"
	"iter"
)

// Content is the data of an entry that was open when the entry was emitted.
//
// Read gives the stored bytes in order (for a sparse file, its data ranges one
// after another); it may be called from another goroutine than the one that
// received the Item, but never from two at once. Close is called exactly once,
// also when nothing was read.
type Content interface {
	io.ReadCloser
	// Drift says, after the last Read and before Close, how the source changed
	// since the content was opened ("grew from 10 to 12 bytes"); empty if it did not.
	Drift() string
}

// Item is an entry on its way from a source into an archive. Whoever receives
// it owns it: it must either close Content or hand the item on.
type Item struct {
	Entry Entry
	// Data is the whole stored content of a small entry; Entry.Hash is then set.
	// It is valid until the Batch that it came in is released.
	Data []byte
	// Content is the stored content of a larger entry: StoredSize bytes, or fewer
	// if the source shrank. nil when there is none or when Data holds it.
	Content Content
	// Unsplit keeps the entry's content in one archive, however large that gets.
	Unsplit bool
}

// Batch is a run of neighbouring items in the order of ComparePaths.
type Batch struct {
	Items []Item
	// Release gives the memory behind the items' Data back; it may be nil, is
	// called at most once, from any goroutine, and never before the last use.
	Release func()
	// Flush has everything emitted so far packed and its contents closed, without
	// waiting for what comes next: the source waits for that.
	Flush bool
}

// Baseline is what is already held of a source: an earlier set, or the sealed
// archives of an interrupted run.
type Baseline interface {
	// Walk yields the held entries of a source, of which name is the first component
	// of all paths, in the order of ComparePaths: the one called name, if it is held,
	// and all that lies in it; nothing where nothing is held. Deleted ones are left
	// out. An entry has a location only when an archive of the set being written holds
	// it, not that of an earlier set. What is yielded beside an error does not count,
	// and nothing comes after it.
	//
	// What the set being written gets meanwhile may be yielded or not. Walk holds a
	// bounded number of entries in memory, and no lock between two of them.
	Walk(ctx context.Context, name string) iter.Seq2[Entry, error]
}

// Source is something that entries are read from. An implementation is made
// for one run.
type Source interface {
	// Spec is the canonical form of what the user named (an absolute path, a
	// URL without secrets); equal sources have equal specs.
	Spec() string
	// Name is the first component of every path it emits.
	Name() string
	// Scan emits every planned entry exactly once, in the order of ComparePaths
	// except where a source says otherwise, with an outcome: OutcomeStored (to
	// be stored, content open), OutcomeUnchanged (the baseline's entry with its
	// location), OutcomeExcluded, OutcomeVanished, OutcomeFailed (and a reason),
	// or OutcomeDeleted. A directory that cannot be listed is emitted as stored
	// by its own attributes and once more as failed is wrong: it is emitted once,
	// as failed.
	//
	// emit is called from one goroutine; it blocks while what follows is busy and
	// takes ownership of the batch even if it fails. Scan returns emit's error,
	// the cause of ctx, or an error that makes the whole source unreadable (it does
	// not exist); one unreadable entry is an outcome, not an error. baseline may be nil.
	Scan(ctx context.Context, baseline Baseline, emit func(context.Context, Batch) error) error
}

// Snapshotter is a Source that every Scan reads anew and whole, as it was at one
// moment: the dump of a database. What two Scans emit never belongs together, so a run
// that resumes another keeps no archive that holds some of it, and a run never scans it
// twice. Its entries may come in any order, a directory before what lies in it; all are
// stored, or deleted where the baseline has more.
type Snapshotter interface {
	Source
	// Snapshot says that it is one.
	Snapshot()
}
