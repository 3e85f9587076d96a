package progress

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan"
)

// watched runs a watchdog beside the test and keeps what it says.
type watched struct {
	cancel context.CancelCauseFunc
	result chan error

	mu   sync.Mutex
	said map[string][]*Stall
}

func (w *watched) note(kind string) func(*Stall) {
	return func(s *Stall) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said[kind] = append(w.said[kind], s)
	}
}

func (w *watched) warned() []*Stall { return w.get("warn") }
func (w *watched) failed() []*Stall { return w.get("fail") }
func (w *watched) stuck() []*Stall  { return w.get("stuck") }

func (w *watched) get(kind string) []*Stall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said[kind]
}

var errOver = errors.New("the run is over")

func watch(t *testing.T, tracker *Tracker, limits Limits) *watched {
	t.Helper()
	w := &watched{result: make(chan error, 1), said: map[string][]*Stall{}}
	ctx, cancel := context.WithCancelCause(t.Context())
	w.cancel = cancel
	go func() {
		w.result <- tracker.Watch(ctx, limits, Actions{Warn: w.note("warn"), Fail: w.note("fail"), Stuck: w.note("stuck")})
	}()
	return w
}

// over ends the watch; its findings may be read afterwards.
func (w *watched) over() error {
	w.cancel(errOver)
	return <-w.result
}

var usual = Limits{Still: Limit{Warn: time.Minute, Fail: 15 * time.Minute}, Grace: time.Minute}

func TestWatchWarnsThenFailsThenIsStuck(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s := tracker.Stage("compressor close")
		s.Begin()
		s.Object("backup_1.tar.zst")
		s.Moved(5*capstan.MiB, 7)
		w := watch(t, tracker, usual)
		pass(14*time.Minute + 30*time.Second)
		if len(w.warned()) != 14 || len(w.failed()) != 0 {
			t.Fatalf("%d warnings, %d failures after 14 1/2 minutes", len(w.warned()), len(w.failed()))
		}
		if first := w.warned()[0]; first.For < time.Minute || first.For > 62*time.Second || first.Stacks != "" {
			t.Errorf("first warning %+v", first)
		}
		pass(40 * time.Second)
		if len(w.failed()) != 1 {
			t.Fatalf("%d failures", len(w.failed()))
		}
		failed := w.failed()[0]
		for _, part := range []string{"compressor close", "backup_1.tar.zst", "no progress for 15m", "5.0 MiB and 7 operations", "the last at"} {
			if !strings.Contains(failed.Error(), part) {
				t.Errorf("%q lacks %q", failed.Error(), part)
			}
		}
		if !strings.Contains(failed.Stacks, "TestWatchWarnsThenFailsThenIsStuck") || len(failed.Stacks) > stackLimit {
			t.Errorf("stacks of %d bytes do not show this test", len(failed.Stacks))
		}
		err := <-w.result
		var stuck *Stall
		if !errors.As(err, &stuck) || len(w.stuck()) != 1 || stuck != w.stuck()[0] || stuck != failed {
			t.Errorf("Watch gave %v, stuck %v", err, w.stuck())
		}
		w.cancel(nil)
	})
}

func TestWatchIsSilentAboutARunThatEndsWithinTheGrace(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		tracker.Stage("pack").Begin()
		w := watch(t, tracker, usual)
		pass(15*time.Minute + 30*time.Second)
		if err := w.over(); !errors.Is(err, errOver) {
			t.Errorf("Watch gave %v", err)
		}
		if len(w.failed()) != 1 || len(w.stuck()) != 0 {
			t.Errorf("%d failed, %d stuck", len(w.failed()), len(w.stuck()))
		}
	})
}

func TestWatchLeavesHealthyStagesAlone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		live func(s *Stage)
	}{
		{"a heartbeat now and then", func(s *Stage) {
			for range 100 {
				pass(55 * time.Second)
				s.Moved(0, 1)
			}
		}},
		{"a declared wait without limit", func(s *Stage) {
			defer s.Wait(ForVolume, "")()
			pass(3 * time.Hour)
		}},
		{"a person at lunch", func(s *Stage) {
			defer s.Wait(ForPerson, "load TP20261101")()
			pass(5 * time.Hour)
		}},
		{"waits between short moves", func(s *Stage) {
			for range 100 {
				done := s.Wait(ForDrive, "")
				pass(10 * time.Minute)
				done()
				pass(500 * time.Millisecond)
			}
		}},
		{"no worker", func(s *Stage) {
			s.End()
			pass(time.Hour)
			s.Begin()
			pass(10 * time.Second)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, tracker *Tracker) {
				s := tracker.Stage("write")
				s.Begin()
				limits := usual
				limits.Waits = map[Resource]Limit{ForPerson: {Warn: time.Minute, Fail: time.Hour}}
				w := watch(t, tracker, limits)
				test.live(s)
				if err := w.over(); !errors.Is(err, errOver) || len(w.warned())+len(w.failed()) != 0 {
					t.Errorf("Watch gave %v after %d warnings and %d failures", err, len(w.warned()), len(w.failed()))
				}
			})
		})
	}
}

// Time in declared waits is no excuse for the rest: a stage that turns in circles
// between short waits and never gets anything done is found.
func TestWatchFindsAStageThatOnlyWaitsAndTurns(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s := tracker.Stage("write")
		s.Begin()
		w := watch(t, tracker, usual)
		for range 20 * 60 { // 20 minutes of work, an hour of waits
			done := s.Wait(ForLock, "")
			pass(3 * time.Second)
			done()
			pass(time.Second)
			if len(w.failed()) > 0 {
				break
			}
		}
		if err := w.over(); !errors.Is(err, errOver) || len(w.failed()) != 1 || w.failed()[0].Waiting != "" {
			t.Fatalf("Watch gave %v, failed %v", err, w.failed())
		}
		if elapsed := tracker.Elapsed(); elapsed < 55*time.Minute || elapsed > 65*time.Minute {
			t.Errorf("failed after %v", elapsed)
		}
		if n := len(w.warned()); n < 13 || n > 15 {
			t.Errorf("%d warnings", n)
		}
	})
}

func TestWatchLimitsPerWaitAndPerStage(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		limits := usual
		limits.Waits = map[Resource]Limit{ForNetwork: {Warn: 10 * time.Second, Fail: 30 * time.Second}}
		limits.Stages = map[string]Limit{"sync": {Warn: time.Hour}}
		tracker.Stage("sync").Begin()
		s := tracker.Stage("upload")
		s.Begin()
		done := s.Wait(ForNetwork, "s3.example.org")
		w := watch(t, tracker, limits)
		pass(25 * time.Second)
		done()
		done = s.Wait(ForNetwork, "s3.example.org") // a new wait counts anew
		pass(25 * time.Second)
		if len(w.warned()) != 4 || len(w.failed()) != 0 {
			t.Fatalf("%d warnings, %d failures", len(w.warned()), len(w.failed()))
		}
		pass(6 * time.Second)
		done()
		if err := w.over(); !errors.Is(err, errOver) || len(w.failed()) != 1 {
			t.Fatalf("Watch gave %v, failed %v", err, w.failed())
		}
		if text := w.failed()[0].Error(); !strings.Contains(text, "upload has been waiting for network (s3.example.org) for 30s") {
			t.Error(text)
		}
	})
}

func TestWatchFindsStagesThatWaitForEachOther(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		scan, pack := tracker.Stage("scan"), tracker.Stage("pack")
		scan.Begin()
		pack.Begin()
		w := watch(t, tracker, usual)
		defer scan.Wait(ForStage("pack"), "")()
		done := pack.Wait(ForSpace, "")
		pass(20 * time.Minute) // the space decides: healthy
		done()
		defer pack.Wait(ForStage("scan"), "")()
		if len(w.warned())+len(w.failed()) != 0 {
			t.Fatalf("a healthy wait was told: %v %v", w.warned(), w.failed())
		}
		pass(15*time.Minute + 30*time.Second)
		if err := w.over(); !errors.Is(err, errOver) || len(w.failed()) != 1 {
			t.Errorf("Watch gave %v, failed %v", err, w.failed())
		}
	})
}

// A process that was stopped, or a machine that was asleep, must not find all its
// stages guilty at once.
func TestWatchForgivesAGapInItsOwnTime(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_800_000_000, 0)
	now := start
	tracker := New(func() time.Time { return now })
	s := tracker.Stage("pack")
	s.Begin()
	waiting := tracker.Stage("upload")
	waiting.Begin()
	defer waiting.Wait(ForNetwork, "")()
	limits := usual
	limits.Every = time.Second
	limits.Waits = map[Resource]Limit{ForNetwork: {Warn: time.Minute, Fail: 15 * time.Minute}}
	warned := 0
	w := &watchdog{limits: limits, still: map[string]*stillness{}, last: now, actions: Actions{
		Warn: func(*Stall) { warned++ },
		Fail: func(s *Stall) { t.Errorf("failed: %v", s) },
	}}
	look := func() {
		if stuck := w.look(tracker.Snapshot()); stuck != nil {
			t.Errorf("stuck: %v", stuck)
		}
	}
	for range 30 {
		now = now.Add(time.Second)
		look()
	}
	now = now.Add(8 * time.Hour)
	for range 25 {
		look()
		now = now.Add(time.Second)
	}
	if warned != 0 {
		t.Errorf("%d warnings", warned)
	}
	for range 20 {
		look()
		now = now.Add(time.Second)
	}
	if warned != 2 {
		t.Errorf("%d warnings after a minute of its own time", warned)
	}
}
