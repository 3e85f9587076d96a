package pipeline

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/stage"
)

func failing(op disk.Op, path string, _ int) error {
	if op == disk.OpWrite && strings.Contains(path, "backup_") {
		return syscall.EIO
	}
	return nil
}

// partial makes a set that the failing volumes lack.
func (s *site) partial(t *testing.T, failed ...string) (*proc, Summary) {
	t.Helper()
	for _, name := range failed {
		s.fault(name, failing)
	}
	p := s.process(t)
	summary, err := p.backup(t.Context(), "a", "b")
	if !errors.Is(err, capstan.ErrIncomplete) || summary.Status != capstan.RunPartial {
		t.Fatalf("%+v, %v", summary, err)
	}
	for _, name := range failed {
		s.fault(name, nil)
	}
	return p, summary
}

func (p *proc) giveStage(context.Context, capstan.SetID) (*stage.Stage, error) { return p.stage, nil }

func (p *proc) requireStatus(set capstan.SetID, want capstan.RunStatus, staged bool) {
	p.t.Helper()
	if found, err := p.Catalog.Set(p.t.Context(), set); err != nil || found.Status != want {
		p.t.Errorf("the set is %s, %v; want %s", found.Status, err, want)
	}
	if n := p.staged(set); n > 0 != staged {
		p.t.Errorf("%d archives are in the stage", n)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, first := s.partial(t, "a", "b")
	p.requireStatus(first.Set, capstan.RunPartial, true)
	s.fault("b", failing)
	retry := Retry{Run: first.Run, Stage: p.giveStage}
	summary, err := p.Retry(t.Context(), retry) // one of two
	if !errors.Is(err, capstan.ErrIncomplete) || summary.Status != capstan.RunPartial || summary.Set != first.Set || summary.Counts != first.Counts {
		t.Errorf("%+v, %v; first %+v", summary, err, first)
	}
	p.requireStatus(first.Set, capstan.RunPartial, true)
	s.fault("b", nil)
	retry.Run = summary.Run // that of a retry will do
	if summary, err = p.Retry(t.Context(), retry); err != nil || summary.Status != capstan.RunComplete || len(summary.Volumes) != 1 {
		t.Errorf("%+v, %v", summary, err)
	}
	p.requireWhole(first.Set, "a", "b")
	if summary, err = p.Retry(t.Context(), retry); err != nil || summary.Status != capstan.RunComplete {
		t.Errorf("nothing to do: %+v, %v", summary, err)
	}
	if _, err := p.Retry(t.Context(), Retry{Run: 99, Stage: p.giveStage}); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("no such run: %v", err)
	}
	if _, err := p.Abandon(t.Context(), first.Run, true, p.giveStage); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("abandon what lacks nothing: %v", err)
	}
	lock, err := p.Catalog.LockJob(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Retry(t.Context(), retry); !errors.Is(err, capstan.ErrLocked) {
		t.Errorf("while the job runs: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}

// Retried without its stage, a set comes from the volume that has it.
func TestRetryWithoutTheStage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, first := s.partial(t, "b")
	if err := os.RemoveAll(p.stageDir() + "/final/" + string(first.Set)); err != nil {
		t.Fatal(err)
	}
	none := func(context.Context, capstan.SetID) (*stage.Stage, error) { return nil, nil } //nolint:nilnil // the contract of Retry.Stage
	summary, err := p.Retry(t.Context(), Retry{Run: first.Run, Stage: none})
	if err == nil {
		p.requireWhole(first.Set, "a", "b")
	} else {
		t.Errorf("%+v, %v", summary, err)
	}
}

func TestRetryOfAnInterruptedSet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	set := s.interrupt(t, nil, "a", "b")
	p := s.process(t)
	p.openStage()
	if _, err := p.Retry(t.Context(), Retry{Run: 1, Stage: p.giveStage}); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("its job resumes it: %v", err)
	}
	p.requireStatus(set, capstan.RunInterrupted, true)
	// Abandoned, it is not resumed.
	if _, err := p.Abandon(t.Context(), 1, false, p.giveStage); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("the stage holds the only copy: %v", err)
	}
	p.requireStatus(set, capstan.RunInterrupted, true)
	if n, err := p.Abandon(t.Context(), 1, true, p.giveStage); err != nil || n != 5 {
		t.Errorf("%d removed, %v", n, err)
	}
	p.requireStatus(set, capstan.RunFailed, false)
	summary, err := p.backup(t.Context(), "a", "b")
	if err != nil || summary.Set == set || summary.Resumed {
		t.Errorf("%+v, %v", summary, err)
	}
	p.requireWhole(summary.Set, "a", "b")
}

// What one volume lacks is given up; the other has the set.
func TestAbandonOneVolume(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, first := s.partial(t, "b")
	p.requireStatus(first.Set, capstan.RunPartial, true)
	if n, err := p.Abandon(t.Context(), first.Run, false, p.giveStage); err != nil || n != 5 {
		t.Errorf("%d removed, %v", n, err)
	}
	p.requireWhole(first.Set, "a")
}

// The stage holds the only copy: it is not given up by accident, and if it is, the
// set is none that is restored or built upon.
func TestAbandonTheOnlyCopy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, first := s.partial(t, "a", "b")
	_, err := p.Abandon(t.Context(), first.Run, false, p.giveStage)
	if !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), "--lose-data") {
		t.Errorf("%v", err)
	}
	p.requireStatus(first.Set, capstan.RunPartial, true)
	broken := errors.New("the stage does not open")
	if _, err := p.Abandon(t.Context(), first.Run, true, func(context.Context, capstan.SetID) (*stage.Stage, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	p.requireStatus(first.Set, capstan.RunPartial, true)
	// Killed before the stage let its files go: its next opening does.
	none := func(context.Context, capstan.SetID) (*stage.Stage, error) { return nil, nil } //nolint:nilnil // the contract of Abandon's open
	if n, err := p.Abandon(t.Context(), first.Run, true, none); err != nil || n != 0 {
		t.Errorf("%d removed, %v", n, err)
	}
	p.requireStatus(first.Set, capstan.RunFailed, true)
	if latest, err := p.Catalog.Latest(t.Context(), "job"); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("the latest set is %s, %v", latest.ID, err)
	}
	if err := p.stage.Close(); err != nil {
		t.Fatal(err)
	}
	p.openStage()
	p.requireStatus(first.Set, capstan.RunFailed, false)
}
