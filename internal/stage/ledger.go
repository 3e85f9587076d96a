package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"capstan"
	"capstan/internal/disk"
)

const (
	// lockRetry is how often the ledger's lock is tried again; it is held for milliseconds.
	lockRetry = 5 * time.Millisecond
	// settleTime bounds how long something that is given back, or taken back after
	// a cancellation, waits for the ledger.
	settleTime = 10 * time.Second
)

// ledger is what all owners hold, as it is while its lock is held.
type ledger struct {
	stage  *Stage
	others []record // of the other owners that live
}

func (s *Stage) ledgerLock() string { return filepath.Join(s.area(ledgerArea), "lock") }

// transact calls do while nobody else, in any process, looks at the ledger or
// changes it, and then tells the others what do and earlier calls of edit have
// changed. After an error they may not have learned it: who took something gives
// it back.
func (s *Stage) transact(ctx context.Context, do func(l *ledger) error) error {
	return s.look(ctx, s.declare, do)
}

// look is transact for a caller that may have declared its wait already.
func (s *Stage) look(ctx context.Context, declare func(on, detail string) func(), do func(l *ledger) error) (err error) {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	unlock, err := s.lock(ctx, declare)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := s.usable(); err != nil {
		return err
	}
	l, err := s.census()
	if err != nil {
		return err
	}
	err = do(l)
	if s.owner != nil {
		err = errors.Join(err, s.owner.tell(s, s.snapshot()))
	}
	return err
}

// usable refuses a stage that is closed or not there.
func (s *Stage) usable() error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return &fs.PathError{Op: "use stage", Path: s.path, Err: fs.ErrClosed}
	}
	return s.present()
}

// lock takes the lock of the ledger. It never makes its file: where that is not,
// the stage is not.
func (s *Stage) lock(ctx context.Context, declare func(on, detail string) func()) (unlock func() error, err error) {
	path := s.ledgerLock()
	if err := s.before(disk.OpOpen, path, 0); err != nil {
		return nil, err
	}
	// A new one for each call: two of one process exclude each other too.
	lock := flock.New(path, flock.SetFlag(os.O_RDWR))
	taken, err := lock.TryLock()
	if err == nil && !taken {
		done := declare("lock", "the ledger of stage "+s.path)
		_, err = lock.TryLockContext(ctx, lockRetry)
		done()
	}
	switch {
	case err == nil:
		return lock.Unlock, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.gone(fmt.Errorf("%s cannot be found", path))
	}
	return nil, lockless(path, err)
}

// settle tells the ledger what was given back. It goes on when ctx has ended,
// for a limited time. That the stage is closed or gone is no error here: then
// nobody is left to be told, and the call that failed by it says so.
func (s *Stage) settle(ctx context.Context, do func(l *ledger) error) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), settleTime,
		fmt.Errorf("stage %s: the ledger was locked by somebody else for %s", s.path, settleTime))
	defer cancel()
	err := s.transact(ctx, do)
	if errors.Is(err, ErrGone) || errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// join makes this Stage an owner and decides what it may use.
func (s *Stage) join(ctx context.Context, o Options) error {
	return s.transact(ctx, func(l *ledger) error {
		if err := l.sweep(); err != nil {
			return err
		}
		if err := l.sweepSpools(); err != nil {
			return err
		}
		view, err := l.survey()
		if err != nil {
			return err
		}
		s.reserve = chooseReserve(o.Reserve, view.space.Total)
		s.quota = chooseQuota(o.Quota, view, s.reserve)
		s.edit(func(r *record) { *r = record{Format: recordFormat, PID: os.Getpid(), Quota: s.quota} })
		s.owner, err = s.enlist()
		return err
	})
}

// records are those of all owners that live, this one first.
func (l *ledger) records() []record {
	return append([]record{l.stage.snapshot()}, l.others...)
}

// ClaimSet takes a set for this owner, so that it may create files in it and
// nobody else touches those that are there. It is repeatable. A set that another
// living owner has is capstan.ErrLocked; that of a dead one is free at once.
func (s *Stage) ClaimSet(ctx context.Context, set capstan.SetID) error {
	if err := s.check(ctx, set); err != nil {
		return err
	}
	added := false
	err := s.transact(ctx, func(l *ledger) error {
		if i := slices.IndexFunc(l.others, func(r record) bool { return slices.Contains(r.Sets, set) }); i >= 0 {
			return &capstan.Error{
				Class: capstan.ErrLocked, Op: "set", Object: string(set),
				Err:  fmt.Errorf("process %d is working on it in stage %s", l.others[i].PID, s.path),
				Safe: "nothing was touched", Next: "wait for it, or see: capstan runs",
			}
		}
		s.edit(func(r *record) {
			if added = !slices.Contains(r.Sets, set); added {
				r.Sets = append(r.Sets, set)
			}
		})
		return nil
	})
	if err != nil && added {
		s.edit(func(r *record) { r.Sets = slices.DeleteFunc(r.Sets, func(id capstan.SetID) bool { return id == set }) })
	}
	return err
}

// LeaveSet ends the claim of a set. Its files that are being written must have
// been ended. Leaving a set that is not claimed does nothing.
func (s *Stage) LeaveSet(ctx context.Context, set capstan.SetID) error {
	busy := false
	s.edit(func(r *record) {
		busy = slices.ContainsFunc(r.Holds, func(h hold) bool { return h.Set == set })
		if !busy {
			r.Sets = slices.DeleteFunc(r.Sets, func(id capstan.SetID) bool { return id == set })
		}
	})
	if busy {
		return fmt.Errorf("leave set %s: a file of it is still being written in stage %s", set, s.path)
	}
	return s.settle(ctx, func(l *ledger) error { return l.tidy(set) })
}

// tidy removes the empty directories of a set, unless somebody writes a file in
// it: who holds room for one makes the directories when it needs them.
func (l *ledger) tidy(set capstan.SetID) error {
	for _, r := range l.records() {
		if slices.ContainsFunc(r.Holds, func(h hold) bool { return h.Set == set }) {
			return nil
		}
	}
	fsys := l.stage.disk
	for _, area := range [...]string{tempArea, finalArea} {
		dir := l.stage.dir(area, set)
		if info, err := fsys.Lstat(dir); err != nil || !info.IsDir() {
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				continue // what is not a directory is not ours
			}
			return err
		}
		entries, err := fsys.ReadDir(dir)
		if err == nil && len(entries) == 0 {
			err = fsys.Remove(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
