package cli

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/copier"
	"capstan/internal/daemon"
	"capstan/internal/pipeline"
	"capstan/internal/stage"
)

// deliverFlags say how archives come to their volumes, and how patient a run is.
type deliverFlags struct {
	stage     string
	stageSize string
	direct    bool
	limitRate string
	stallWarn time.Duration
	stallFail time.Duration
	attempts  int
	spools    bool // a database is among the sources: its data waits in the stage in any case
}

// add declares those that every command has which writes to volumes.
func (f *deliverFlags) add(flags *pflag.FlagSet) {
	f.addPatience(flags)
	flags.StringVar(&f.stage, "stage", "", "let archives wait for their volumes in this directory (default: in the home, with several volumes)")
	flags.StringVar(&f.limitRate, "limit-rate", "", "write no more than this a second to all volumes together, such as 20MiB")
	flags.IntVar(&f.attempts, "attempts", config.DefaultAttempts, "try a copy so often, with growing pauses, before it waits for: capstan retry")
}

// addPatience declares those that every run has.
func (f *deliverFlags) addPatience(flags *pflag.FlagSet) {
	f.attempts = config.DefaultAttempts
	flags.DurationVar(&f.stallWarn, "stall-warn", config.DefaultStallWarn, "warn when nothing has moved for this long; 0: never")
	flags.DurationVar(&f.stallFail, "stall-fail", config.DefaultStallFail, "then cut off the volume that does not answer, or end the run; 0: never")
}

// delivery is what the flags of a backup amount to.
type delivery struct {
	staged   bool
	stage    string // its directory; empty: the home's
	size     capstan.Bytes
	limit    *copier.Limit
	patience pipeline.Patience
}

// plan checks the flags of a backup to so many volumes.
func (f *deliverFlags) plan(volumes int) (d delivery, err error) {
	d.stage = f.stage
	if d.staged, err = f.staged(volumes); err != nil {
		return d, err
	}
	if d.size, err = f.size(); err != nil {
		return d, err
	}
	if f.stageSize != "" && !d.staged && !f.direct && !f.spools {
		return d, usage("--stage-size %s: this backup uses no stage; give --stage DIR as well", f.stageSize)
	}
	if d.limit, err = f.limit(); err != nil {
		return d, err
	}
	d.patience, err = f.patience()
	return d, err
}

// patient takes the limits of the watchdog that the flags say, and those of the home.
func (a *app) patient(f *deliverFlags) (p pipeline.Patience, err error) {
	if p, err = f.patience(); err == nil {
		a.stallFail = p.Fail
	}
	return p, err
}

// patience checks and gives the limits of the watchdog.
func (f *deliverFlags) patience() (pipeline.Patience, error) {
	switch {
	case f.stallWarn < 0:
		return pipeline.Patience{}, usage("--stall-warn %s: give a time, or 0 for never", f.stallWarn)
	case f.stallFail < 0:
		return pipeline.Patience{}, usage("--stall-fail %s: give a time, or 0 for never", f.stallFail)
	case f.attempts < 1:
		return pipeline.Patience{}, usage("--attempts %d: give a number from 1", f.attempts)
	}
	return pipeline.Patience{Warn: f.stallWarn, Fail: f.stallFail, Attempts: f.attempts}, nil
}

// limit gives the limit of the rate; nil for none.
func (f *deliverFlags) limit() (*copier.Limit, error) {
	if f.limitRate == "" {
		return nil, nil //nolint:nilnil // no limit is not a failure
	}
	rate, err := capstan.ParseBytes(f.limitRate)
	if err != nil || rate < capstan.KiB {
		return nil, usage("--limit-rate %s: give at least 1KiB, such as 20MiB", f.limitRate)
	}
	return copier.NewLimit(rate), nil
}

// size is the bound of the stage; 0 for the default.
func (f *deliverFlags) size() (capstan.Bytes, error) {
	if f.stageSize == "" {
		return 0, nil
	}
	size, err := capstan.ParseBytes(f.stageSize)
	if err != nil || size < capstan.MiB {
		return 0, usage("--stage-size %s: give at least 1MiB, such as 50GiB", f.stageSize)
	}
	return size, nil
}

// staged reports whether archives go through the stage.
func (f *deliverFlags) staged(volumes int) (bool, error) {
	switch {
	case f.direct && f.stage != "":
		return false, usage("give --direct or --stage, not both")
	case f.direct && volumes > 1:
		return false, usage("--direct writes to one volume, and %d are given: several get the set through the stage", volumes)
	}
	return volumes > 1 || f.stage != "", nil
}

// stageOf opens the stage that holds archives of a set: the one that was named, or
// whichever of the known ones has some; nil if none has.
func (f *deliverFlags) stageOf(ctx context.Context, d *daemon.Daemon, set capstan.SetID) (*stage.Stage, error) {
	if f.stage != "" {
		return d.Stage(ctx, f.stage, 0)
	}
	location, found, err := d.StageOf(ctx, set)
	if err != nil || !found {
		return nil, err
	}
	return d.Stage(ctx, location, 0)
}

// completeStage takes the job's stage, unless --direct was given.
func (f *deliverFlags) completeStage(from config.Job, given func(flag string) bool) {
	if f.direct = f.direct || from.Direct && !given("direct"); !f.direct {
		f.stage = from.Stage
	}
}
