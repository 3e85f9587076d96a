package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"capstan"
	"capstan/internal/progress"
	"capstan/internal/stage"
)

// OpenStage opens the stage in a directory, makes it if it is new, and puts it in
// order: what runs that were killed left unfinished is removed, what every volume
// has is removed, and what was found is said. A stage that this catalog knows at
// the place and that is not there is refused while a set waits in one: its disk
// may not be mounted. The caller closes the stage.
func (e *Engine) OpenStage(ctx context.Context, dir string, size capstan.Bytes) (*stage.Stage, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	known, wanted, err := e.Catalog.StageAt(ctx, dir)
	if err != nil {
		return nil, err
	}
	options := stage.Options{Quota: size, Catalog: e.Key.ID(), Wait: e.stageWait}
	if wanted {
		options.Known = known
	}
	s, err := stage.Open(ctx, dir, options)
	if err != nil {
		return nil, err
	}
	report, err := s.Reconcile(ctx, e.fate)
	if err == nil {
		err = e.Catalog.EnsureStage(ctx, dir, s.ID())
	}
	if err == nil {
		report.Kept, err = e.clearStage(ctx, s, report.Kept)
	}
	for _, line := range report.Lines() {
		e.Say("%s", line)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// stageWait declares a wait for room on the stage that writes archives.
func (e *Engine) stageWait(on, detail string) (done func()) {
	resource := progress.ForSpace
	if on == "lock" {
		resource = progress.ForLock
	}
	return e.Tracker.Stage(stageWrite).Wait(resource, detail)
}

// fate says what becomes of a sealed file that lies in the stage.
func (e *Engine) fate(ctx context.Context, id capstan.SetID, name string, size int64) (stage.Fate, error) {
	if _, forgotten, err := e.Catalog.WasForgotten(ctx, id); err != nil || forgotten {
		return stage.Discard, err
	}
	if _, err := e.Catalog.Set(ctx, id); errors.Is(err, capstan.ErrNotFound) {
		return stage.SetAside, nil // of a catalog that was lost, or of a set that was deleted
	} else if err != nil {
		return stage.Leave, err
	}
	_, number, _, ok := capstan.ParseArchiveName(name)
	if !ok {
		return stage.SetAside, nil
	}
	a, err := e.Catalog.Archive(ctx, id, number)
	switch {
	case errors.Is(err, capstan.ErrNotFound):
		return stage.Discard, nil // renamed just before the catalog could say so: its entries are packed again
	case err != nil:
		return stage.Leave, err
	case a.Name != name || a.Size != size:
		return stage.SetAside, nil
	}
	return stage.Keep, nil
}

// clearStage removes the files that no volume waits for: their run was killed
// between the catalog's word and the removal. It gives the others.
func (e *Engine) clearStage(ctx context.Context, s *stage.Stage, kept []stage.Found) (left []stage.Found, err error) {
	done := 0
	for _, file := range kept {
		_, number, _, _ := capstan.ParseArchiveName(file.Name)
		awaited, err := e.Catalog.Awaited(ctx, file.Set, number)
		if err != nil {
			return left, err
		}
		if awaited {
			left = append(left, file)
			continue
		}
		if err := s.Remove(ctx, file.Set, file.Name); err != nil {
			return left, fmt.Errorf("remove %s from the stage: %w", file.Name, err)
		}
		done++
	}
	if done > 0 {
		e.Say("stage: %d archives that all their volumes have removed", done)
	}
	return left, nil
}
