package progress

import (
	"sync"
	"sync/atomic"
	"time"

	"capstan"
)

// Tracker holds the progress of one run. It is safe for concurrent use.
type Tracker struct {
	now     func() time.Time
	started time.Time

	mu                        sync.Mutex
	stages                    []*Stage
	entries, entriesTotal     int64
	bytesIn, bytesOut, bytesT capstan.Bytes
	samples                   samples

	subscribing sync.Mutex // held by Subscribe and Subscription.Close only
	subscribers atomic.Pointer[[]*Subscription]
}

// New starts the clock of a run. now must be monotonic (time.Now is); nil means
// time.Now.
func New(now func() time.Time) *Tracker {
	if now == nil {
		now = time.Now
	}
	t := &Tracker{now: now, started: now()}
	t.samples.add(sample{at: t.started})
	return t
}

// Stage gives the stage of that name and makes it at its first use. Its place in
// snapshots and reports is that of its first use.
func (t *Tracker) Stage(name string) *Stage {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.stages {
		if s.name == name {
			return s
		}
	}
	s := &Stage{tracker: t, name: name, waiting: map[Resource]time.Duration{}}
	t.stages = append(t.stages, s)
	return s
}

// Total sets what the run plans to do, for the time left. Zero or less means that
// the number is not known. It may be corrected at any time.
func (t *Tracker) Total(entries int64, bytes capstan.Bytes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entriesTotal, t.bytesT = max(entries, 0), max(bytes, 0)
}

// Count adds entries that are done, the bytes that were read for them, and the
// bytes that came out. Each may be zero; in and out need not come together.
func (t *Tracker) Count(entries int64, in, out capstan.Bytes) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries += entries
	t.bytesIn += in
	t.bytesOut += out
	t.samples.add(sample{at: now, bytes: t.bytesIn, entries: t.entries})
}

// Elapsed is the time since New.
func (t *Tracker) Elapsed() time.Duration { return t.now().Sub(t.started) }

// list copies the stages out of the lock.
func (t *Tracker) list() []*Stage {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*Stage(nil), t.stages...)
}
