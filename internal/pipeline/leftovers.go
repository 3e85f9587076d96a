package pipeline

import (
	"context"
	"errors"
	"iter"

	"capstan"
)

// leftovers follows the scan of a resumed run through what the interrupted one
// has stored, in the same order, and finds what the scan does not meet any more:
// it was deleted since, lies in a directory that is now excluded or something
// else, and must not come back with a restore of this set. One goroutine uses it.
type leftovers struct {
	run  *backupRun
	sink *sink
	next func() (capstan.Entry, error, bool)
	stop func()
	head capstan.Entry // the first entry that the scan has not come to
	more bool          // whether there is a head
	// unread is a directory that could not be read this time; what an archive of
	// the set holds from below it stays in the set.
	unread string
}

// leftovers begins at the root of one source. The caller calls stop at the end.
func (r *backupRun) leftovers(ctx context.Context, source string, sink *sink) (*leftovers, error) {
	l := &leftovers{run: r, sink: sink, stop: func() {}}
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

// upTo takes everything before an entry that the scan has met, and the entry itself.
func (l *leftovers) upTo(ctx context.Context, met *capstan.Entry) error {
	if err := l.take(ctx, func(path string) bool { return capstan.ComparePaths(path, met.Path) < 0 }); err != nil {
		return err
	}
	if l.unread = ""; met.Outcome == capstan.OutcomeFailed {
		l.unread = met.Path
	}
	if l.more && l.head.Path == met.Path {
		return l.advance()
	}
	return nil
}

// rest takes what is left when the scan is over.
func (l *leftovers) rest(ctx context.Context) error {
	return l.take(ctx, func(string) bool { return true })
}

// take drops the entries from the set for which passed is true.
func (l *leftovers) take(ctx context.Context, passed func(path string) bool) error {
	var gone []capstan.Entry
	for l.more && passed(l.head.Path) {
		if l.unread != "" && capstan.Within(l.head.Path, l.unread) {
			l.run.adopt([]capstan.Entry{l.head})
		} else {
			l.head.Outcome, l.head.Reason = capstan.OutcomeDeleted, ""
			gone = append(gone, l.head)
		}
		if len(gone) == 1024 {
			if err := l.sink.record(ctx, gone); err != nil {
				return err
			}
			gone = gone[:0]
		}
		if err := l.advance(); err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return l.sink.record(ctx, gone)
}
