package pipeline

import (
	"context"
	"errors"
	"fmt"

	"capstan"
	"capstan/internal/stage"
)

// finished reports whether a set's run came to its end.
func finished(set capstan.Set) bool {
	return set.Status == capstan.RunComplete || set.Status == capstan.RunPartial
}

// givenUp refuses a set whose interrupted run was abandoned.
func givenUp(op string, id capstan.SetID) error {
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: op, Object: string(id), Err: errors.New("it was abandoned"), Safe: "nothing was changed",
		Next: "run its job again: it makes a new set",
	}
}

// Abandon gives up what volumes lack of a run's set: nobody wants it there any
// more. It is refused (capstan.ErrRefused) where the stage holds the only bytes of
// an archive, unless lose is true. The set of a run that was interrupted is not
// resumed any more. It gives the number of archives that were removed from the stage.
func (e *Engine) Abandon(ctx context.Context, id capstan.RunID, lose bool, open func(ctx context.Context, set capstan.SetID) (*stage.Stage, error)) (removed int, err error) {
	stage := e.Tracker.Stage("abandon")
	stage.Begin()
	defer stage.End()
	set, volumes, lock, err := e.lockSet(ctx, id)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	only, err := e.onlyStaged(ctx, set.ID)
	switch {
	case err != nil:
		return 0, err
	case set.Status == capstan.RunFailed, finished(set) && len(volumes) == 0:
		return e.finishAbandon(ctx, id, set, open)
	case len(only) > 0 && !lose:
		next := fmt.Sprintf("capstan retry %d", id)
		if !finished(set) {
			next = "run its job again: it resumes"
		}
		return 0, &capstan.Error{
			Class: capstan.ErrRefused, Op: "abandon run", Object: fmt.Sprint(id),
			Err:  fmt.Errorf("%s of set %s is on no volume: the stage holds the only copy", only[0], set.ID),
			Safe: "nothing was changed", Next: fmt.Sprintf("%s; or, to lose it: capstan abandon %d --lose-data", next, id),
		}
	}
	staged, err := open(ctx, set.ID)
	if err != nil {
		return 0, err
	}
	for _, volume := range volumes {
		if err := e.Catalog.AbandonDemand(ctx, set.ID, volume.ID); err != nil {
			return 0, err
		}
	}
	run := &backupRun{Engine: e, set: set}
	if finished(set) {
		err = run.rate(ctx)
	} else if err = e.Catalog.SetStatus(ctx, set.ID, capstan.RunFailed, set.Counts); err == nil {
		_, err = e.Catalog.InterruptRuns(ctx, set.Job, kindBackup, kindResume, kindConsolidate)
	}
	if err == nil {
		err = e.Catalog.Audit(ctx, "abandon", string(set.ID), fmt.Sprintf("run %d, %d volumes, %d archives lost", id, len(volumes), len(only)))
	}
	if err != nil || staged == nil {
		return 0, err
	}
	return e.unstage(ctx, staged, set.ID)
}

// finishAbandon removes what the stage still has of a set of which nothing is left to
// abandon: an earlier call was killed before it could. Where there is nothing, it
// refuses.
func (e *Engine) finishAbandon(ctx context.Context, id capstan.RunID, set capstan.Set, open func(ctx context.Context, set capstan.SetID) (*stage.Stage, error)) (removed int, err error) {
	staged, err := open(ctx, set.ID)
	if err == nil && staged != nil {
		removed, err = e.unstage(ctx, staged, set.ID)
	}
	switch {
	case err != nil || removed > 0:
		return removed, err
	case set.Status == capstan.RunFailed:
		return 0, givenUp("abandon run", set.ID)
	}
	return 0, &capstan.Error{
		Class: capstan.ErrRefused, Op: "abandon run", Object: fmt.Sprint(id),
		Err: fmt.Errorf("set %s lacks nothing", set.ID), Safe: "nothing was changed",
	}
}

// onlyStaged names the archives of a set that are on no volume.
func (e *Engine) onlyStaged(ctx context.Context, id capstan.SetID) (names []string, err error) {
	archives, err := e.Catalog.Archives(ctx, id)
	if err != nil {
		return nil, err
	}
	copies, err := e.Catalog.Copies(ctx, id)
	if err != nil {
		return nil, err
	}
	good := map[capstan.ArchiveNumber]bool{}
	for _, c := range copies {
		good[c.Number] = good[c.Number] || c.State == capstan.CopyWritten || c.State == capstan.CopyVerified
	}
	for _, a := range archives {
		if !good[a.Number] {
			names = append(names, a.Name)
		}
	}
	return names, nil
}

// unstage removes all of a set from the stage.
func (e *Engine) unstage(ctx context.Context, s *stage.Stage, id capstan.SetID) (int, error) {
	files, err := s.List(ctx, id)
	if err != nil {
		return 0, err
	}
	for i, file := range files {
		if err := s.Remove(ctx, id, file.Name); err != nil {
			return i, err
		}
		e.Tracker.Stage("abandon").Moved(0, 1)
	}
	return len(files), nil
}
