package pipeline

import (
	"context"
	"errors"
	"time"

	"capstan/internal/progress"
)

// guardGrace is what a command has to end once it is cancelled, beyond what the runs in
// it have: only then it is left behind.
const guardGrace = 90 * time.Second

// Attend does work that is no run of its own under the watchdog. Work that does not
// return within a grace of ctx, or of its stall, is left behind: then the value is its
// zero, since the work may still be at it, and the error says where it hangs. Errors are
// those of work, and in their place the cause of ctx or the stall that ended it.
func Attend[T any](ctx context.Context, e *Engine, p Patience, work func(context.Context) (T, error)) (value T, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if p.Grace == 0 {
		p.Grace = readGrace
	}
	values := make(chan T, 1)
	err, stuck := e.watched(ctx, cancel, p, whole{}, func(ctx context.Context) error {
		value, err := work(ctx)
		values <- value
		return err
	})
	if !stuck {
		value = <-values
	}
	return value, err
}

// Guard does the work of a whole command, whose runs have watchdogs of their own: it
// cancels the work when the catalog has not answered for as long as fail (0: never). Where
// leave is true, work that does not return within 90 s of its end is left behind, and
// left is true; it may still be at work.
func (e *Engine) Guard(ctx context.Context, fail time.Duration, leave bool, work func(context.Context) error) (err error, left bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limits := progress.Limits{Waits: map[progress.Resource]progress.Limit{progress.ForCatalog: {Fail: fail}}}
	p := Patience{Fail: fail, Grace: guardGrace}
	if !leave {
		p.Grace = never
	}
	err, left = e.watchedBy(ctx, cancel, limits, p, whole{}, work)
	stall := context.Cause(ctx)
	switch {
	case left || stall == nil || !errors.Is(stall, errStalled) || errors.Is(err, errStalled):
	case err == nil: // what it was for is done
		e.Warn("%v", stall)
	default:
		err = errors.Join(stall, err)
	}
	return err, left
}

// never is longer than any process lives.
const never = 1 << 62
