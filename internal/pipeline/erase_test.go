package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"capstan"
	"capstan/internal/progress"
)

// A step that does not return is left behind, and counts as no answer; while it
// lasts, the stage says what it waits for.
func TestVolumeThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tracker := progress.New(time.Now)
		stage := tracker.Stage(progress.StepDelete)
		stage.Begin()
		w := &eraser{info: capstan.VolumeInfo{Location: "/mnt/hung"}, stage: stage}
		hung := make(chan struct{})
		defer close(hung)
		go func() {
			time.Sleep(eraseTime / 2)
			if s := tracker.Snapshot().Stages[0]; s.Waiting != progress.ForVolume || s.Detail != "/mnt/hung" {
				t.Errorf("half-way, the stage says %+v", s)
			}
		}()
		began := time.Now()
		_, err := answer(t.Context(), w, func(context.Context) (int, error) {
			<-hung
			return 1, nil
		})
		if err == nil || !strings.Contains(err.Error(), "did not answer within 1m0s") || time.Since(began) != eraseTime {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stopped")
		cancel(stop)
		if _, err := answer(ctx, w, func(context.Context) (int, error) {
			<-hung
			return 1, nil
		}); !errors.Is(err, stop) {
			t.Errorf("when the run is stopped: %v", err)
		}
		if n, err := answer(t.Context(), w, func(context.Context) (int, error) { return 3, nil }); n != 3 || err != nil {
			t.Errorf("when it answers: %d, %v", n, err)
		}
	})
}
