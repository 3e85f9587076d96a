package catalog

import (
	"context"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/machine"
)

// CancelRequest is what somebody asked of a run.
type CancelRequest struct {
	At time.Time // zero: nobody asked
	By string    // for people: "root on backup1"
}

// Asked reports whether there is a request.
func (r CancelRequest) Asked() bool { return !r.At.IsZero() }

// RequestCancel asks a run, in whichever process, to stop; by says who asks. The
// first request stands. A run that is over already is left as it is; one that never
// was is capstan.ErrNotFound.
func (c *Catalog) RequestCancel(ctx context.Context, id capstan.RunID, by string) error {
	return c.write(ctx, fmt.Sprintf("cancel run %d", id), func(t *tx) error {
		found, err := t.one(sqlCancelled, with(int64(id)), new(int64), new(string))
		if err == nil && !found {
			err = unknownRun(id)
		}
		if err == nil {
			_, err = t.exec(sqlRequestCancel, unix(c.now()), by, int64(id))
		}
		return err
	})
}

// CancelRequested gives what somebody asked of the run.
func (c *Catalog) CancelRequested(ctx context.Context, id capstan.RunID) (r CancelRequest, err error) {
	var at int64
	found, err := one(ctx, c.reads, sqlCancelled, with(int64(id)), &at, &r.By)
	if err == nil && !found {
		err = unknownRun(id)
	}
	r.At = fromUnix(at)
	return r, c.failed(ctx, fmt.Sprintf("run %d", id), err)
}

// Gone reports whether a run says that it runs, but its process is not there any
// more. That of another machine or container cannot be looked at, and counts as there.
func (c *Catalog) Gone(r Run) bool {
	here, err := c.here()
	if err != nil || r.Status != capstan.RunRunning || r.Process.Boot == "" {
		return false
	}
	switch here.Relation(r.Process) {
	case machine.Before:
		return true
	case machine.Beside:
		return !r.Process.Alive()
	case machine.Foreign:
	}
	return false
}

// InterruptRun marks a run that is Gone as interrupted, and the set that it was
// making unless another run has it. It reports false if the run is not Gone, or is
// marked already.
func (c *Catalog) InterruptRun(ctx context.Context, id capstan.RunID) (marked bool, err error) {
	run, err := c.Run(ctx, id)
	if err != nil || !c.Gone(run) {
		return false, err
	}
	err = c.write(ctx, fmt.Sprintf("mark run %d", id), func(t *tx) error {
		now := unix(c.now())
		touched, err := t.exec(sqlInterruptRun, now, int64(id))
		marked = touched > 0
		if err == nil && marked && run.Set != "" {
			_, err = t.exec(sqlInterruptSet, now, string(run.Set), string(run.Set))
		}
		return err
	})
	return marked, err
}
