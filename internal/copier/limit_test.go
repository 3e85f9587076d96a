package copier

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"capstan"
	"capstan/internal/progress"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(2 * capstan.MiB)
		tracker := progress.New(nil)
		stage := tracker.Stage("copy")
		stage.Begin()
		begun := time.Now()
		done := make(chan error)
		for range 3 { // all that write share it, in pieces larger than what may come at once
			go func() { done <- l.Wait(t.Context(), stage, 3*mib+mib/2) }()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		// 10.5 MiB, of which the first one is free.
		if took := time.Since(begun); took < 4700*time.Millisecond || took > 4800*time.Millisecond {
			t.Errorf("took %s", took)
		}
		if report := tracker.Report(); len(report) != 1 || report[0].WaitingFor[forRate] < 4.7 {
			t.Errorf("%+v", report)
		}
		if err := l.Wait(t.Context(), stage, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestLimitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	why := errors.New("enough")
	synctest.Test(t, func(t *testing.T) {
		l := NewLimit(0) // a byte a second
		stage := progress.New(nil).Stage("copy")
		ctx, cancel := context.WithCancelCause(t.Context())
		begun := time.Now()
		time.AfterFunc(time.Minute, func() { cancel(why) })
		if err := l.Wait(ctx, stage, 2*mib); !errors.Is(err, why) || time.Since(begun) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		// One that would come too late waits to the end all the same, and says why.
		late, stop := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer stop()
		begun = time.Now()
		if err := l.Wait(late, stage, mib); !errors.Is(err, why) || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

// A limited queue is as slow as it must be, and a cancelled one ends at once.
func TestLimitedQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.options.Limit = NewLimit(8 * capstan.MiB)
	r.pack(2 * mib)
	begun := time.Now()
	r.bring(capstan.CopyWritten, capstan.CopyWritten)
	if took := time.Since(begun); took < 350*time.Millisecond { // 4 MiB less 1, at 8 a second
		t.Errorf("took %s", took)
	}
	r.requireWhole()

	slow := newRig(t, memory(t))
	slow.options.Limit = NewLimit(1)
	slow.pack(2 * mib)
	ctx, cancel := context.WithCancelCause(t.Context())
	slow.start(ctx)
	until(t, "it waits for the rate", func() bool { return stageWaits(slow, forRate) })
	cancel(errors.New("enough"))
	if outcomes, err := slow.queue.Drain(); err != nil || outcomes[0].Stuck || outcomes[1].Stuck {
		t.Errorf("%+v %v", outcomes, err)
	}
	slow.requireTrue("cancelled")
	slow.options.Limit = nil
	slow.complete()
}
