package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"capstan"
	"capstan/internal/stage"
)

// Stage opens the stage of this process: in the given directory, or in the home.
// The first call decides; Close closes it.
func (d *Daemon) Stage(ctx context.Context, dir string, size capstan.Bytes) (*stage.Stage, error) {
	if d.stage != nil {
		return d.stage, nil
	}
	if dir == "" {
		dir = d.Home.Stage()
	}
	s, err := d.openStage(ctx, dir, size)
	if err != nil {
		return nil, err
	}
	d.stage = s
	return s, nil
}

// openStage opens a stage, and says what was found there once, however often it is
// opened.
func (d *Daemon) openStage(ctx context.Context, dir string, size capstan.Bytes) (*stage.Stage, error) {
	engine := *d.Engine
	engine.Say = func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if !slices.Contains(d.found, line) {
			d.found = append(d.found, line)
			d.say("%s", line)
		}
	}
	return engine.OpenStage(ctx, dir, size)
}

// StageOf finds the known stage that holds archives of a set. One that cannot be
// opened is passed over with a word.
func (d *Daemon) StageOf(ctx context.Context, set capstan.SetID) (location string, found bool, err error) {
	locations, err := d.Catalog.Stages(ctx)
	if err != nil {
		return "", false, err
	}
	for _, location := range locations {
		s, err := d.openStage(ctx, location, 0)
		if err != nil {
			d.warn("stage %s is passed over: %v", location, err)
			continue
		}
		files, err := s.List(ctx, set)
		if err := errors.Join(err, s.Close()); err != nil {
			return "", false, err
		}
		if len(files) > 0 {
			return location, true, nil
		}
	}
	return "", false, nil
}

// staged opens the stage that holds archives of a set; nil if none does.
func (d *Daemon) staged(ctx context.Context, set capstan.SetID) (*stage.Stage, error) {
	location, found, err := d.StageOf(ctx, set)
	if err != nil || !found {
		return nil, err
	}
	return d.Stage(ctx, location, 0)
}

// ResumeStage gives the directory of the stage that the next backup of a job shall
// use: the one that was named; else the one in which archives of the job's
// interrupted set wait, so that a call that leaves the stage out goes on where the
// last one was; empty for the home's. What waits in a stage that the backup will
// not use is told: its entries are packed again.
func (d *Daemon) ResumeStage(ctx context.Context, job capstan.JobKey, staged bool, named string) (string, error) {
	sets, err := d.Catalog.OpenSets(ctx, job)
	if err != nil {
		return "", err
	}
	for _, set := range sets {
		location, found, err := d.StageOf(ctx, set.ID)
		if err != nil {
			return "", err
		}
		if !found {
			continue
		}
		if staged && named == "" {
			if location != d.Home.Stage() {
				d.say("archives of the interrupted set %s wait in stage %s: it is used again", set.ID, location)
			}
			return location, nil
		}
		if path, err := filepath.Abs(named); staged && err == nil && path == location {
			return named, nil
		}
		d.warn("archives of the interrupted set %s wait in stage %s, which this backup does not use: what only it has is packed again, unless this run is ended and called with --stage %s",
			set.ID, location, location)
	}
	return named, nil
}
