package progress

import (
	"time"

	"capstan"
)

// Snapshot is the progress of a run at one moment.
type Snapshot struct {
	Time         time.Time     `json:"time"`
	Elapsed      time.Duration `json:"elapsed_ns"`
	Entries      int64         `json:"entries"`
	EntriesTotal int64         `json:"entries_total"` // 0: not known
	BytesIn      capstan.Bytes `json:"bytes_in"`
	BytesTotal   capstan.Bytes `json:"bytes_total"` // 0: not known
	BytesOut     capstan.Bytes `json:"bytes_out"`
	Rate         float64       `json:"rate"`   // input bytes a second over the last 10 s
	Ratio        float64       `json:"ratio"`  // output over input bytes; 0: not known yet
	Left         time.Duration `json:"eta_ns"` // expected time left; negative: not known
	Stages       []StageState  `json:"stages"`
}

// StageState is what a stage does at one moment: nothing (Active is 0), moving
// (Waiting is empty), or waiting for something.
type StageState struct {
	Name    string        `json:"name"`
	Active  int           `json:"active"` // workers between Begin and End
	Waiting Resource      `json:"waiting_for,omitempty"`
	Detail  string        `json:"detail,omitempty"` // of the wait
	Since   time.Time     `json:"since"`            // when this state began; zero for a stage that was never active
	For     time.Duration `json:"for_ns"`           // how long ago that is
	Idle    time.Duration `json:"idle_ns"`          // since the last move, monotonic, without declared waits; 0 while inactive
	Moves   uint64        `json:"moves"`            // heartbeats so far
	Moved   time.Time     `json:"moved"`            // time of the last one; zero if there was none
	Bytes   capstan.Bytes `json:"bytes"`
	Ops     int64         `json:"ops"`
	Object  string        `json:"object,omitempty"`
}

// Snapshot gives the present state of everything. Values in it are copies.
func (t *Tracker) Snapshot() Snapshot {
	stages := t.list()
	states := make([]StageState, 0, len(stages))
	for _, s := range stages {
		states = append(states, s.state())
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	snap := Snapshot{
		Time: now, Elapsed: now.Sub(t.started),
		Entries: t.entries, EntriesTotal: t.entriesTotal,
		BytesIn: t.bytesIn, BytesTotal: t.bytesT, BytesOut: t.bytesOut,
		Left: t.left(now), Stages: states,
	}
	snap.Rate, _ = t.samples.over(rateWindow, now)
	if t.bytesIn > 0 {
		snap.Ratio = float64(t.bytesOut) / float64(t.bytesIn)
	}
	return snap
}

// left estimates the time to the end from whichever of bytes and entries is the
// slower; -1 where no total is known or nothing moved in the last minute. t.mu is held.
func (t *Tracker) left(now time.Time) time.Duration {
	bytes, entries := t.samples.over(etaWindow, now)
	left := time.Duration(-1)
	for _, x := range []struct{ total, done, rate float64 }{
		{float64(t.bytesT), float64(t.bytesIn), bytes},
		{float64(t.entriesTotal), float64(t.entries), entries},
	} {
		if x.total <= 0 {
			continue
		}
		rest := max(x.total-x.done, 0)
		if rest > 0 && x.rate <= 0 {
			return -1
		}
		if rest == 0 {
			left = max(left, 0)
			continue
		}
		const century = 100 * 365 * 24 * 3600
		left = max(left, time.Duration(min(rest/x.rate, century)*float64(time.Second)))
	}
	return left
}

func (s *Stage) state() StageState {
	now := s.tracker.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(now)
	state := StageState{
		Name: s.name, Active: s.active, Since: s.since,
		Moves: s.moves, Moved: s.moved, Bytes: s.bytes, Ops: s.ops, Object: s.object,
	}
	if !s.since.IsZero() {
		state.For = max(now.Sub(s.since), 0)
	}
	if s.active > 0 {
		state.Idle = s.idle
	}
	if w := s.current(); w != nil {
		state.Waiting, state.Detail = w.resource, w.detail
	}
	return state
}
