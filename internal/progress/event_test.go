package progress

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestStepSendsItsBeginAndEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, tracker *Tracker) {
		sub := tracker.Subscribe(8)
		defer sub.Close()
		done := tracker.Stage(StepSync).Step("backup_1.tar.zst", "nas1", 3)
		pass(1500 * time.Millisecond)
		done(42, nil)
		done(42, nil)
		done = tracker.Stage(StepRename).Step("backup_1.tar.zst", "nas1", 0)
		done(0, errors.New("disk full"))

		want := []Event{
			{Type: EventBegin, Stage: StepSync, Archive: "backup_1.tar.zst", Object: "nas1", Queue: 3},
			{Type: EventEnd, Stage: StepSync, Archive: "backup_1.tar.zst", Object: "nas1", Queue: 3, Bytes: 42, Seconds: 1.5},
			{Type: EventBegin, Stage: StepRename, Archive: "backup_1.tar.zst", Object: "nas1"},
			{Type: EventEnd, Stage: StepRename, Archive: "backup_1.tar.zst", Object: "nas1", Error: "disk full"},
		}
		for i, w := range want {
			got, err := sub.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Time.IsZero() {
				t.Errorf("event %d has no time", i)
			}
			got.Time = time.Time{}
			if got != w {
				t.Errorf("event %d: %+v, want %+v", i, got, w)
			}
		}
		snap := tracker.Snapshot()
		if s := snap.Stages[0]; s.Active != 0 || s.Bytes != 42 || s.Ops != 1 {
			t.Errorf("sync stage: %+v", s)
		}
		if s := snap.Stages[1]; s.Active != 0 || s.Ops != 0 || s.Moves != 1 {
			t.Errorf("rename stage: %+v", s)
		}
	})
}

func TestSubscriptionDropsAndCounts(t *testing.T) {
	t.Parallel()
	tracker := New(nil)
	slow, fast := tracker.Subscribe(2), tracker.Subscribe(100)
	for range 10 {
		tracker.Event(Event{Type: EventBegin, Stage: StepPack})
	}
	slow.Close()
	slow.Close()
	tracker.Event(Event{Type: EventEnd})
	fast.Close()
	count := func(s *Subscription) (n int) {
		for {
			if _, err := s.Next(t.Context()); errors.Is(err, io.EOF) {
				return n
			} else if err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if n := count(slow); n != 2 || slow.Dropped() != 8 {
		t.Errorf("slow: read %d, dropped %d", n, slow.Dropped())
	}
	if n := count(fast); n != 11 || fast.Dropped() != 0 {
		t.Errorf("fast: read %d, dropped %d", n, fast.Dropped())
	}
}

func TestNextEndsWithItsContextOrTheSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sub := New(time.Now).Subscribe(1)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if _, err := sub.Next(ctx); !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
		time.AfterFunc(time.Second, sub.Close)
		if _, err := sub.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	})
}

// The names of the fields are a contract with scripts.
func TestJSONNames(t *testing.T) {
	t.Parallel()
	event, err := json.Marshal(Event{Type: EventEnd, Time: time.Unix(0, 0).UTC(), Stage: StepPack, Archive: "a", Object: "b", Bytes: 1, Seconds: 2, Queue: 3})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"end","time":"1970-01-01T00:00:00Z","stage":"pack","archive":"a","object":"b","bytes":1,"seconds":2,"queue":3}`
	if string(event) != want {
		t.Errorf("event %s", event)
	}
	report, err := json.Marshal(StageReport{Name: "pack", SecondsMoving: 1.5, SecondsWaiting: 2, WaitingFor: map[Resource]float64{ForVolume: 2}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"name":"pack","seconds_moving":1.5,"seconds_waiting":2,"waiting_for":{"volume":2}}`; string(report) != want {
		t.Errorf("report %s", report)
	}
}
