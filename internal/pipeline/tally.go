package pipeline

import (
	"sync"

	"capstan"
)

// tally counts what a run did; several stages add to it at once.
type tally struct {
	mu       sync.Mutex
	counts   capstan.Counts
	archives int
	problems problems
}

// entries counts outcomes and keeps the failed ones by name.
func (t *tally) entries(entries []capstan.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range entries {
		t.counts.Count(&entries[i])
		if entries[i].Outcome == capstan.OutcomeFailed {
			t.problems.add(entries[i].Path, entries[i].Reason)
		}
	}
}

// held counts an entry that needs no record.
func (t *tally) held(entry *capstan.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Count(entry)
}

// archive counts an archive that a volume confirmed.
func (t *tally) archive(size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.archives++
	t.counts.BytesOut += capstan.Bytes(size)
}

// file counts the bytes of a file beside the archives.
func (t *tally) file(size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.BytesOut += capstan.Bytes(size)
}

// reset forgets what was counted, before it is counted anew.
func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts, t.archives, t.problems = capstan.Counts{}, 0, problems{}
}

// problem names something that is missing.
func (t *tally) problem(object, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problems.add(object, reason)
}

// retract takes back the problems since before.
func (t *tally) retract(before problems) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problems = before
}

// read gives what was counted so far.
func (t *tally) read() (counts capstan.Counts, archives int, list problems) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts, t.archives, t.problems
}
