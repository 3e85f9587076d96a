package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

// HeartbeatEvery is how often a run records that it lives and how far it is, and
// looks whether somebody asked it to stop.
const HeartbeatEvery = 2 * time.Second

// The kinds of runs that make no set.
const (
	kindRestore = "restore"
	kindVerify  = "verify"
	KindDrill   = "drill"
)

// beat keeps the run's row current until ctx ends, so that other processes can see
// how far it is, and calls cancel when one of them asked the run to stop.
func (e *Engine) beat(ctx context.Context, run capstan.RunID, kind string, cancel context.CancelCauseFunc) error {
	ticker := time.NewTicker(HeartbeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		asked, err := e.Catalog.CancelRequested(ctx, run)
		if err == nil && asked.Asked() {
			cancel(cancelled(run, kind, asked))
			return nil
		}
		snapshot, jsonErr := json.Marshal(e.Tracker.Snapshot())
		if err = errors.Join(err, jsonErr); err == nil {
			err = e.Catalog.Heartbeat(ctx, run, snapshot)
		}
		if err != nil && ctx.Err() == nil {
			e.Say("the catalog's progress row could not be updated: %v", err)
		}
	}
}

// cancelled is the cause with which a run ends that somebody asked to stop. It is
// an interruption, so the exit code is 130 and the work can be gone on with.
func cancelled(run capstan.RunID, kind string, asked catalog.CancelRequest) error {
	told := &capstan.Error{
		Class: capstan.ErrInterrupted, Op: "run", Object: fmt.Sprint(run),
		Err:  fmt.Errorf("%w by %s at %s", capstan.ErrCancelled, asked.By, asked.At.Local().Format(time.DateTime)),
		Safe: "what is sealed is kept", Next: "the next run of its job resumes",
	}
	switch kind {
	case kindConsolidate:
		told.Next = "the same call resumes"
	case kindRetry:
		told.Safe, told.Next = "what the volumes have is kept", fmt.Sprintf("for the rest: capstan retry %d", run)
	case kindRestore:
		told.Safe, told.Next = "what was restored is whole", "run it again with --overwrite"
	case KindDrill:
		told.Safe, told.Next = "the dump was not changed, the drill's server is removed", "run it again"
	case kindVerify:
		told.Safe, told.Next = "what was checked is recorded", "run it again to check the rest"
	}
	return told
}

// endOf gives the status of a run whose work ended with err, which is completed by
// the cancellation where that led to it.
func endOf(ctx context.Context, err error) (capstan.RunStatus, error) {
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return capstan.RunComplete, nil
	case errors.Is(err, capstan.ErrCancelled):
		return capstan.RunCancelled, err
	case errors.Is(cause, capstan.ErrCancelled):
		return capstan.RunCancelled, errors.Join(cause, err)
	case errors.Is(err, capstan.ErrInterrupted) || ctx.Err() != nil:
		return capstan.RunInterrupted, err
	}
	return capstan.RunFailed, err
}
