package catalog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"capstan"
)

// attended is an attendance that counts the waits that are declared.
func attended(declared *[]string) *attendance {
	return &attendance{path: "/home/catalog.db", after: giveUpTime, wait: func(on string) func() {
		*declared = append(*declared, on)
		return func() { *declared = append(*declared, on+" over") }
	}}
}

func TestAttendLeavesBehindWhatHangs(t *testing.T) {
	t.Parallel()
	interrupted := &capstan.Error{Class: capstan.ErrInterrupted, Op: "interrupted"}
	for name, cause := range map[string]error{"interrupted": interrupted, "cancelled": context.Canceled, "late": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var declared []string
				a := attended(&declared)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Minute, func() { cancel(cause) })
				began, left, comesBack := time.Now(), false, make(chan struct{})
				err := a.attend(ctx, func() error { <-comesBack; return nil }, func() { left = true }, nil)
				if took := time.Since(began); took != time.Minute+giveUpTime {
					t.Errorf("left behind after %s", took)
				}
				if !errors.Is(err, errSilent) || errors.Is(err, cause) != errors.Is(cause, capstan.ErrInterrupted) || !strings.Contains(err.Error(), "for 1m10s") {
					t.Errorf("%v", err)
				}
				if !left || a.left.Load() != 1 || strings.Join(declared, ", ") != "disk, disk over" {
					t.Errorf("left %v, %d calls, declared %q", left, a.left.Load(), declared)
				}
				close(comesBack)
				synctest.Wait()
				if a.left.Load() != 0 {
					t.Error("a call that came back counts as left behind")
				}
			})
		})
	}
}

func TestAttendWaits(t *testing.T) {
	t.Parallel()
	other := errors.New("other")
	for name, test := range map[string]struct {
		takes, ends time.Duration // of the work, of ctx; 0: never
		declares    bool
		want        string
	}{
		"soon":                    {takes: time.Millisecond, ends: time.Hour},
		"slow":                    {takes: time.Hour, want: "disk, disk over"},
		"for other writers":       {takes: time.Hour, declares: true},
		"back within the bound":   {takes: time.Minute + giveUpTime - 1, ends: time.Minute, want: "disk, disk over"},
		"soon after it was ended": {takes: quietTime / 2, ends: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var declared []string
				a := attended(&declared)
				ctx := t.Context()
				if test.ends > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.ends)
					defer cancel()
				}
				err := a.attend(ctx, func() error {
					<-time.After(test.takes)
					return other
				}, func() { t.Error("it was left behind") }, func() bool { return test.declares })
				if !errors.Is(err, other) || strings.Join(declared, ", ") != test.want {
					t.Errorf("%v, declared %q, want %q", err, declared, test.want)
				}
			})
		})
	}
}
