package progress

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Guarded work that stands still is warned of, and then ended with the reason that the
// caller gives; what ends by itself is left alone.
func TestGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tracker, told := New(nil), errors.New("told")
		limit := Limit{Warn: time.Minute, Fail: 2 * time.Minute}
		limits := Limits{Still: limit, Waits: map[Resource]Limit{ForServer: limit}}
		warned := 0
		guard := func(work func(ctx context.Context) error) error {
			return tracker.Guard(t.Context(), limits, func(*Stall) { warned++ }, func(s *Stall) error { return errors.Join(told, s) }, work)
		}
		if err := guard(func(ctx context.Context) error { return ctx.Err() }); err != nil || warned > 0 {
			t.Errorf("%v, %d warnings", err, warned)
		}
		err := guard(func(ctx context.Context) error {
			stage := tracker.Stage("dump")
			stage.Begin()
			defer stage.End()
			defer stage.Wait(ForServer, "")()
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if stall, is := errors.AsType[*Stall](err); !errors.Is(err, told) || !is || warned == 0 {
			t.Errorf("%v (%v), %d warnings", err, stall, warned)
		}
	})
}
