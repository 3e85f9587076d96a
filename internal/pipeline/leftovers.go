package pipeline

import (
	"context"
	"errors"
	"iter"

	"capstan"
)

// leftovers follows the scan of a resumed run through what the interrupted one
// has stored, in the same order, and finds what the scan does not meet any more:
// it was deleted since, or lies in a directory that is now excluded or something
// else. Whoever unpacks the archives with stock tools would get it back, so the
// archives that hold such entries are given up and packed again. One goroutine
// uses it.
type leftovers struct {
	run  *backupRun
	next func() (capstan.Entry, error, bool)
	stop func()
	head capstan.Entry // the first entry that the scan has not come to
	more bool          // whether there is a head
	// unread is a directory that could not be read this time; what an archive of
	// the set holds from below it stays in the set.
	unread string
}

// leftovers begins at the root of one source. The caller calls stop at the end.
func (r *backupRun) leftovers(ctx context.Context, source string) (*leftovers, error) {
	l := &leftovers{run: r, stop: func() {}}
	if !r.resumed {
		return l, nil
	}
	l.next, l.stop = iter.Pull2(r.Catalog.Walk(ctx, r.set.ID, source))
	err := l.advance()
	if errors.Is(err, capstan.ErrNotFound) { // nothing of this source was stored
		l.more, err = false, nil
	}
	return l, err
}

// advance moves to the next entry that the set holds.
func (l *leftovers) advance() (err error) {
	for {
		l.head, err, l.more = l.next()
		if err != nil || !l.more || l.head.Outcome.Held() {
			return err
		}
	}
}

// upTo passes everything before an entry that the scan has met, and the entry itself.
func (l *leftovers) upTo(met *capstan.Entry) error {
	if err := l.pass(func(path string) bool { return capstan.ComparePaths(path, met.Path) < 0 }); err != nil {
		return err
	}
	if l.unread = ""; met.Outcome == capstan.OutcomeFailed {
		l.unread = met.Path
	}
	if !l.more || l.head.Path != met.Path {
		return nil
	}
	if !met.Outcome.Held() && met.Outcome != capstan.OutcomeFailed {
		l.run.giveUp(&l.head)
	}
	return l.advance()
}

// rest passes what is left when the scan is over.
func (l *leftovers) rest() error {
	return l.pass(func(string) bool { return true })
}

// pass moves over the entries that the scan did not meet.
func (l *leftovers) pass(passed func(path string) bool) error {
	for l.more && passed(l.head.Path) {
		kept := l.unread != "" && capstan.Within(l.head.Path, l.unread)
		if kept || !l.run.giveUp(&l.head) {
			l.run.adopt([]capstan.Entry{l.head})
		}
		if err := l.advance(); err != nil {
			return err
		}
	}
	return nil
}

// giveUp marks the archives that hold an entry as stale if an earlier run sealed
// them. It reports false for an entry that this run has read itself: it was there.
func (r *backupRun) giveUp(e *capstan.Entry) bool {
	if !r.adopted[e.Archive] {
		return false
	}
	if r.stale == nil {
		r.stale = map[capstan.ArchiveNumber]bool{}
	}
	r.stale[e.Archive] = true
	for _, part := range e.Parts {
		if r.adopted[part.Archive] {
			r.stale[part.Archive] = true
		}
	}
	return true
}

// unseal takes stale archives back, from the catalog and then from the volume, so
// that a second pass packs again what the source still has of them. A kill in
// between leaves files that the next run removes.
func (r *backupRun) unseal(ctx context.Context) error {
	r.stopQueue(errors.New("archives are packed again"))
	archives, err := r.Catalog.Archives(ctx, r.set.ID)
	if err != nil {
		return err
	}
	var numbers []capstan.ArchiveNumber
	var names []string
	r.tally.reset()
	for _, a := range archives {
		if !r.stale[a.Number] {
			r.tally.archive(a.Size)
			continue
		}
		numbers, names = append(numbers, a.Number), append(names, a.Name)
	}
	r.Say("%d sealed archives hold entries that the source has no more: they are packed again", len(numbers))
	if err := r.Catalog.DropArchive(ctx, r.set.ID, numbers...); err != nil {
		return err
	}
	r.resumed, r.stale, r.adopted = true, nil, nil
	if r.Stage != nil {
		// What volumes have of them is removed when the set is finished there.
		return r.Stage.Remove(ctx, r.set.ID, names...)
	}
	if err := r.direct().Remove(ctx, r.set.ID, names...); err != nil {
		return err
	}
	return r.direct().ClaimSet(ctx, r.set.ID, r.owner()) // with its last file the volume gave up the set's name
}
