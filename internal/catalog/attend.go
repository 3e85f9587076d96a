package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"capstan"
)

const (
	// giveUpTime is how long a call to the system may go on in the catalog's files after
	// its context has ended. Nothing interrupts one that hangs in a filesystem which does
	// not answer, so that it is left behind then.
	giveUpTime = 10 * time.Second
	// quietTime is how long a call may take before it is a declared wait.
	quietTime = time.Second
)

// errSilent is why a call was left behind.
var errSilent = errors.New("its filesystem does not answer")

// attendance is how callers of a catalog wait for what may hang in its files.
type attendance struct {
	path  string
	wait  func(on string) (done func())
	after time.Duration // giveUpTime; tests have less
	left  atomic.Int64  // calls that were left behind and have not come back
}

// attend does work beside and waits for it: as long as it takes while ctx lasts, but
// no longer than giveUpTime after it. Then it is left behind, leave is called, and the
// error is the cause of ctx and that the catalog does not answer. A long wait is
// declared, unless declared reports that work has done so itself; nil: it never does.
func (a *attendance) attend(ctx context.Context, work func() error, leave func(), declared func() bool) error {
	result := make(chan error, 1)
	go func() {
		err := errSilent // of work that ends its goroutine
		defer func() { result <- err }()
		err = work()
	}()
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	began, ended := time.Now(), ctx.Done()
	var limit <-chan time.Time
	for {
		select {
		case err := <-result:
			return err
		case <-quiet.C:
			if declared != nil && declared() {
				quiet.Reset(quietTime)
				continue
			}
			defer a.wait("disk")()
		case <-ended:
			ended = nil
			timer := time.NewTimer(a.after)
			defer timer.Stop()
			limit = timer.C
		case <-limit:
			a.left.Add(1)
			go func() {
				<-result //nolint:errcheck // nobody waits for it any more
				a.left.Add(-1)
			}()
			if leave != nil {
				leave()
			}
			return a.silent(ctx, time.Since(began))
		}
	}
}

// silent is what a call ends with that was left behind.
func (a *attendance) silent(ctx context.Context, since time.Duration) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, context.Canceled) {
		return a.stalled(since) // they say nothing more
	}
	return errors.Join(cause, a.stalled(since))
}

// stalled says that the catalog has not answered for so long.
func (a *attendance) stalled(since time.Duration) error {
	return &capstan.Error{
		Op: "catalog", Object: a.path, Err: fmt.Errorf("stalled: %w for %s", errSilent, since.Round(time.Second)),
		Safe: safeCommitted, Next: "look at the disk that it is on",
	}
}
