package progress

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// watchCut is watch with an answer to Cut.
func watchCut(t *testing.T, tracker *Tracker, limits Limits, cut func(*Stall) bool) *watched {
	t.Helper()
	w := &watched{result: make(chan error, 1), said: map[string][]*Stall{}}
	ctx, cancel := context.WithCancelCause(t.Context())
	w.cancel = cancel
	note := w.note("cut")
	go func() {
		w.result <- tracker.Watch(ctx, limits, Actions{
			Warn: w.note("warn"), Fail: w.note("fail"), Stuck: w.note("stuck"),
			Cut: func(s *Stall) bool {
				note(s)
				return cut(s)
			},
		})
	}()
	return w
}

func always(*Stall) bool { return true }

func (w *watched) require(t *testing.T, when string, cuts, fails int) {
	t.Helper()
	if len(w.get("cut")) != cuts || len(w.failed()) != fails {
		t.Fatalf("%s: %d cuts, %d failures; want %d and %d", when, len(w.get("cut")), len(w.failed()), cuts, fails)
	}
}

// What was cut off is left alone for as long as it stays where it is, and cut again
// after it moved and stalled anew.
func TestWatchCutsOnceForEachStall(t *testing.T) {
	t.Parallel()
	states := map[string]struct {
		stall func(s *Stage) (over func()) // begins to stand still
		next  func(s *Stage)               // goes on to the next stall
	}{
		"no heartbeat": {
			func(*Stage) func() { return func() {} },
			func(s *Stage) { s.Moved(1, 0) },
		},
		"a wait": {
			func(s *Stage) func() { return s.Wait(ForVolume, "nas1") },
			func(s *Stage) { s.Moved(1, 0) },
		},
		"a wait anew": {
			func(s *Stage) func() { return s.Wait(ForVolume, "nas1") },
			func(*Stage) { pass(2 * time.Second) },
		},
		"another worker": {
			func(*Stage) func() { return func() {} },
			func(s *Stage) { s.End(); pass(2 * time.Second); s.Begin() },
		},
	}
	for name, state := range states {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, tracker *Tracker) {
				limits := usual
				limits.Waits = map[Resource]Limit{ForVolume: {Warn: time.Minute, Fail: 15 * time.Minute}}
				s, other := tracker.Stage("copy to a"), tracker.Stage("copy to b")
				s.Begin()
				other.Begin()
				done := other.Wait(ForPerson, "")
				w := watchCut(t, tracker, limits, always)
				for round := 1; round <= 3; round++ {
					over := state.stall(s)
					pass(14 * time.Minute)
					w.require(t, "before the limit", round-1, 0)
					pass(90 * time.Second)
					w.require(t, "after it", round, 0)
					warned := len(w.warned())
					pass(2 * time.Hour)
					w.require(t, "much later", round, 0)
					if len(w.warned()) != warned {
						t.Errorf("%d warnings of what is cut off already", len(w.warned())-warned)
					}
					over()
					state.next(s)
				}
				first := w.get("cut")[0]
				if first.Stage != "copy to a" || !strings.Contains(first.Stacks, "TestWatchCutsOnceForEachStall") || first.For < 15*time.Minute || first.For > 15*time.Minute+5*time.Second {
					t.Errorf("%+v", first)
				}
				done()
				if err := w.over(); !errors.Is(err, errOver) || len(w.stuck()) > 0 {
					t.Errorf("Watch gave %v, stuck %v", err, w.stuck())
				}
			})
		})
	}
}

// The stillness for which a stage was cut off is not held against its next attempt,
// which begins with a wait and moves only later.
func TestWatchForgivesWhatWasCut(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		limits := usual
		limits.Waits = map[Resource]Limit{"retry": {Warn: time.Hour}}
		s := tracker.Stage("copy to a")
		s.Begin()
		w := watchCut(t, tracker, limits, always)
		pass(16 * time.Minute)
		w.require(t, "it stood still", 1, 0)
		warned := len(w.warned())
		done := s.Wait("retry", "")
		pass(10 * time.Second)
		done()
		pass(50 * time.Second)
		w.require(t, "its next attempt has just begun", 1, 0)
		if len(w.warned()) != warned {
			t.Errorf("warned of it at once: %v", w.warned()[warned:])
		}
		pass(15 * time.Minute)
		w.require(t, "that stood still too", 2, 0)
		w.cancel(errOver)
		if err := <-w.result; !errors.Is(err, errOver) {
			t.Error(err)
		}
	})
}

// Cut says that the run cannot do without the stage, or does so at the second time.
func TestWatchFailsWhatCannotBeCut(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s, packing := tracker.Stage("copy to a"), tracker.Stage("pack")
		s.Begin()
		w := watchCut(t, tracker, usual, func(s *Stall) bool { return s.Stage != "pack" })
		pass(10 * time.Minute)
		packing.Begin()
		pass(10 * time.Minute)
		w.require(t, "one of two is cut", 1, 0)
		pass(6 * time.Minute)
		w.require(t, "the other cannot be", 2, 1)
		if failed := w.failed()[0]; failed.Stage != "pack" || failed != w.get("cut")[1] || failed.Stacks == "" {
			t.Errorf("%+v", failed)
		}
		pass(2 * time.Minute) // nothing ends it within the grace
		if err := <-w.result; !errors.Is(err, w.stuck()[0]) || len(w.stuck()) != 1 {
			t.Errorf("Watch gave %v, stuck %v", err, w.stuck())
		}
		w.cancel(nil)
	})
}

// A stage that ended after it was cut off, and all others, are judged as ever.
func TestWatchAfterACut(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s, other := tracker.Stage("copy to a"), tracker.Stage("copy to b")
		s.Begin()
		w := watchCut(t, tracker, usual, always)
		pass(16 * time.Minute)
		w.require(t, "one is cut", 1, 0)
		s.End()
		other.Begin()
		pass(16 * time.Minute)
		w.require(t, "another one is", 2, 0)
		other.End()
		pass(time.Hour)
		w.require(t, "nothing is at work", 2, 0)
		if err := w.over(); !errors.Is(err, errOver) {
			t.Error(err)
		}
	})
}
