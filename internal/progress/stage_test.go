package progress

import (
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capstan"
)

// inBubble runs a test under synthetic time, in which time.Sleep costs nothing
// and is exact.
func inBubble(t *testing.T, test func(t *testing.T, tracker *Tracker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, New(time.Now)) })
}

// pass lets synthetic time go by and everything that is due in it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestStageStates(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s := tracker.Stage("pack")
		state := func() StageState { return tracker.Snapshot().Stages[0] }

		if got := state(); got.Active != 0 || got.Waiting != "" || !got.Since.IsZero() || got.For != 0 {
			t.Errorf("before the first worker: %+v", got)
		}
		pass(time.Second)
		s.Begin()
		s.Object("a/b")
		pass(2 * time.Second)
		if got := state(); got.Active != 1 || got.Waiting != "" || got.For != 2*time.Second || got.Idle != 2*time.Second || got.Object != "a/b" {
			t.Errorf("moving: %+v", got)
		}
		s.Moved(4*capstan.MiB, 1)
		done := s.Wait(ForVolume, "nas1")
		pass(5 * time.Second)
		got := state()
		if got.Waiting != ForVolume || got.Detail != "nas1" || got.For != 5*time.Second || got.Idle != 0 {
			t.Errorf("waiting: %+v", got)
		}
		if got.Bytes != 4*capstan.MiB || got.Ops != 1 || got.Moves != 1 {
			t.Errorf("moved: %+v", got)
		}
		done()
		done()
		pass(time.Second)
		if got := state(); got.Waiting != "" || got.For != time.Second || got.Idle != time.Second {
			t.Errorf("moving again: %+v", got)
		}
		s.End()
		s.End()
		pass(time.Second)
		if got := state(); got.Active != 0 || got.Idle != 0 || got.For != time.Second {
			t.Errorf("ended: %+v", got)
		}
	})
}

func TestStageWithSeveralWorkersWaitsWhenAllWait(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s := tracker.Stage("read")
		s.Begin()
		s.Begin()
		doneA := s.Wait(ForSource, "")
		pass(3 * time.Second) // B moves
		doneB := s.Wait(ForStage("pack"), "")
		pass(4 * time.Second) // both wait: the older wait names the reason
		doneA()
		pass(2 * time.Second) // A moves
		s.End()
		pass(time.Second) // A left, B still waits
		doneB()
		s.End()
		pass(time.Hour) // nobody is active

		got := tracker.Report()[0]
		want := map[Resource]float64{ForSource: 4, "pack": 1}
		if got.SecondsMoving != 5 || got.SecondsWaiting != 5 || !maps.Equal(got.WaitingFor, want) {
			t.Errorf("report %+v", got)
		}
	})
}

// Whatever workers do, moving and waiting add up to the time that the stage was active.
func TestReportAddsUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s := tracker.Stage("x")
		random := rand.New(rand.NewPCG(1, 2))
		var active time.Duration
		var open []func()
		workers := 0
		for range 2000 {
			switch random.IntN(6) {
			case 0:
				s.Begin()
				workers++
			case 1:
				if workers > 0 {
					s.End()
					workers--
				}
			case 2:
				open = append(open, s.Wait([]Resource{ForSpace, ForDrive, ForLock}[random.IntN(3)], ""))
			case 3:
				if len(open) > 0 {
					i := random.IntN(len(open))
					open[i]()
					open = append(open[:i], open[i+1:]...)
				}
			case 4:
				s.Moved(1, 1)
			}
			d := time.Duration(random.IntN(1000)) * time.Millisecond
			pass(d)
			if workers > 0 {
				active += d
			}
		}
		got := tracker.Report()[0]
		var waits float64
		for _, seconds := range got.WaitingFor {
			waits += seconds
		}
		if sum := got.SecondsMoving + got.SecondsWaiting; !near(sum, active.Seconds()) || !near(waits, got.SecondsWaiting) {
			t.Errorf("moving %v + waiting %v (%v) = %v, active %v", got.SecondsMoving, got.SecondsWaiting, got.WaitingFor, sum, active.Seconds())
		}
		if got.SecondsMoving == 0 || got.SecondsWaiting == 0 {
			t.Errorf("the walk exercised too little: %+v", got)
		}
	})
}

func near(a, b float64) bool { return a-b < 0.002 && b-a < 0.002 }

func TestTrackerIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	tracker := New(nil)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				s := tracker.Stage("pack")
				s.Begin()
				s.Moved(1, 1)
				s.Wait(ForVolume, "")()
				tracker.Count(1, 2, 3)
				tracker.Event(Event{Type: EventBegin})
				s.End()
			}
		})
	}
	group.Go(func() {
		for range 200 {
			sub := tracker.Subscribe(1)
			tracker.Snapshot()
			tracker.Report()
			sub.Close()
		}
	})
	group.Wait()
	snap := tracker.Snapshot()
	if snap.Entries != 4000 || snap.BytesIn != 8000 || snap.BytesOut != 12000 {
		t.Errorf("counts %+v", snap)
	}
	if len(snap.Stages) != 1 || snap.Stages[0].Ops != 4000 || snap.Stages[0].Active != 0 {
		t.Errorf("stages %+v", snap.Stages)
	}
}

// A heartbeat is called for every frame and every batch: it must not allocate.
func TestHeartbeatDoesNotAllocate(t *testing.T) {
	tracker := New(nil)
	s := tracker.Stage("pack")
	s.Begin()
	if n := testing.AllocsPerRun(100, func() {
		s.Moved(1, 1)
		tracker.Count(1, 1, 1)
		tracker.Event(Event{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMoved(b *testing.B) {
	s := New(nil).Stage("pack")
	s.Begin()
	for b.Loop() {
		s.Moved(4*capstan.MiB, 1)
	}
}

func BenchmarkWait(b *testing.B) {
	s := New(nil).Stage("pack")
	s.Begin()
	for b.Loop() {
		s.Wait(ForVolume, "")()
	}
}

// Within a wait for a volume the stage is full: that is what the writing waits for.
func TestWaitWithinAWait(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		s := tracker.Stage("write")
		state := func() StageState { return tracker.Snapshot().Stages[0] }
		s.Begin()
		outer := s.Wait(ForVolume, "stage")
		pass(time.Second)
		inner := s.Wait(ForSpace, "full")
		pass(3 * time.Second)
		if got := state(); got.Waiting != ForSpace || got.Detail != "full" || got.For != 3*time.Second {
			t.Errorf("within: %+v", got)
		}
		inner()
		pass(2 * time.Second)
		if got := state(); got.Waiting != ForVolume || got.For != 2*time.Second {
			t.Errorf("after the inner one: %+v", got)
		}
		outer()
		s.End()
		report := tracker.Report()[0]
		if report.WaitingFor[ForVolume] != 3 || report.WaitingFor[ForSpace] != 3 || report.SecondsMoving != 0 {
			t.Errorf("report %+v", report)
		}
	})
}
