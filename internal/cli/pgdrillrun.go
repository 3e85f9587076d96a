package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/pgdrill"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
	"capstan/internal/stage"
)

// drillReport is what became of a drill, as it is printed, and kept in the catalog.
type drillReport struct {
	pgdrill.Summary                   // of the one dump, or of all together
	Run             capstan.RunID     `json:"run,omitempty"` // 0: it is not in the catalog
	Set             capstan.SetID     `json:"set,omitempty"`
	Error           string            `json:"error,omitempty"`
	Drills          []pgdrill.Summary `json:"drills,omitempty"` // of each dump, where there are several
}

// newDrillReport is one of a drill that has not found anything out yet.
func newDrillReport(set capstan.SetID, dump string) *drillReport {
	return &drillReport{Summary: pgdrill.NewSummary(dump), Set: set}
}

// maxKept bounds the differences and problems of a drill that the catalog keeps.
const maxKept = 100

// kept is the report as the catalog keeps it.
func (r *drillReport) kept() drillReport {
	short := *r
	short.Summary, short.Drills = short.Brief(maxKept), nil
	for i := range r.Drills {
		short.Drills = append(short.Drills, r.Drills[i].Brief(maxKept))
	}
	return short
}

// counts are those of its row: entries are tables.
func (r *drillReport) counts() capstan.Counts {
	differ := int64(len(r.Differences)+len(r.Problems)) + r.Unnamed
	return capstan.Counts{Entries: r.Tables + differ, Stored: r.Tables, Failed: differ, BytesIn: r.Bytes}
}

// pgDrill drills a directory. It needs no catalog; d is nil where there is none.
func (a *app) pgDrill(ctx context.Context, d *daemon.Daemon, options pgdrill.Options, timeout time.Duration) error {
	ctx, cancel := limited(ctx, timeout, "drill", options.Dir, drillSafe)
	defer cancel()
	tracker := progress.New(nil)
	if d != nil {
		tracker, options.Notes = d.Tracker, d.Home.Scratch()
	}
	report := newDrillReport("", options.Dir)
	return a.shown(ctx, tracker, view, func(ctx context.Context) error {
		return a.drillRun(ctx, d, pipeline.Drill{}, report, func(ctx context.Context) (err error) {
			report.Summary, err = a.drill(ctx, tracker, options)
			return err
		})
	})
}

// drillRun does a drill as a run, where there is a catalog, and tells what it came to.
// Only work writes to the report.
func (a *app) drillRun(ctx context.Context, d *daemon.Daemon, of pipeline.Drill, report *drillReport, work func(context.Context) error) error {
	if d == nil {
		err := work(ctx)
		a.drillSummary(ctx, *report, err)
		return err
	}
	return d.Engine.Drill(ctx, of, work, func(run capstan.RunID, _ capstan.RunStatus, err error, left bool) pipeline.DrillResult {
		if left { // and may still write to it
			report = newDrillReport(of.Set, "")
		}
		report.Run = run
		if err != nil {
			report.Error = err.Error()
		}
		a.drillSummary(ctx, *report, err)
		return pipeline.DrillResult{Counts: report.counts(), Summary: report.kept()}
	})
}

// drillSummary prints what a drill came to: to people only where it found something out.
func (a *app) drillSummary(ctx context.Context, report drillReport, err error) {
	if err == nil || errors.Is(err, capstan.ErrIncomplete) || a.flags.json {
		a.finish(ctx, report.text(), report)
	}
}

// drill runs a drill.
func (a *app) drill(ctx context.Context, tracker *progress.Tracker, options pgdrill.Options) (pgdrill.Summary, error) {
	return pgdrill.Run(ctx, pgdrill.Env{Tracker: tracker, Say: a.printer.Info, Warn: a.printer.Warn}, options)
}

// pgDrillSet drills the dumps of a set, one after another.
func (a *app) pgDrillSet(ctx context.Context, d *daemon.Daemon, name string, options pgdrill.Options, timeout time.Duration, from *setDumpFlags) error {
	set, err := a.set(ctx, d, name)
	if err != nil {
		return err
	}
	ctx, cancel := limited(ctx, timeout, "drill", string(set.ID), drillSafe)
	defer cancel()
	patience, err := from.deliver.patience()
	if err != nil {
		return err
	}
	size, err := from.deliver.size()
	if err != nil {
		return err
	}
	all, err := d.Engine.Dumps(ctx, set.ID)
	if err != nil {
		return err
	}
	paths := all
	if from.database != "" || len(paths) <= 1 { // of none, the error says it
		dump, err := d.Engine.OpenDump(ctx, set.ID, from.database)
		if err != nil {
			return err
		}
		paths = []string{dump.Path}
	}
	area, err := d.Stage(ctx, from.deliver.stage, size)
	if err != nil {
		return err
	}
	options.Notes = d.Home.Scratch()
	s := &setDrill{app: a, d: d, set: set, dumps: all, area: area, options: options, patience: patience}
	report := newDrillReport(set.ID, string(set.ID))
	return a.live(ctx, d, func(ctx context.Context) error {
		return a.drillRun(ctx, d, pipeline.Drill{Set: set.ID, Job: set.Job}, report, func(ctx context.Context) error { return s.all(ctx, paths, report) })
	})
}

// setDrill is the drill of a set.
type setDrill struct {
	app      *app
	d        *daemon.Daemon
	set      capstan.Set
	dumps    []string // all that it holds
	area     *stage.Stage
	options  pgdrill.Options
	patience pipeline.Patience
}

// all drills each dump. What is found out of one says nothing of the next, so each has
// its turn, until the drill is ended.
func (s *setDrill) all(ctx context.Context, paths []string, report *drillReport) error {
	var errs []error
	for _, path := range paths {
		summary, err := s.one(ctx, path)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		errs = append(errs, err)
		if len(paths) == 1 {
			report.Summary = summary
			break
		}
		report.Drills = append(report.Drills, summary)
		if ctx.Err() != nil || errors.Is(err, capstan.ErrUsage) {
			break
		}
	}
	if len(paths) > 1 {
		report.Summary = pgdrill.Together(string(s.set.ID), len(paths), report.Drills)
	}
	return errors.Join(errs...)
}

// one brings a dump to the stage, drills it there, and records what that came to.
func (s *setDrill) one(ctx context.Context, path string) (summary pgdrill.Summary, err error) {
	summary = pgdrill.NewSummary(string(s.set.ID) + " " + path)
	job := pipeline.FetchDump{Set: s.set.ID, Part: true, Globals: s.options.Globals == "" && s.options.Server == "", Patience: s.patience}
	err = s.app.spooled(ctx, s.d, s.area, job, path, func(ctx context.Context, fetched pipeline.Fetched, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, capstan.ErrIncomplete) && fetched.Path != "": // damaged: that is an outcome too
			summary.Damaged("the files in the set", err)
		case err != nil:
			return err
		default:
			options := s.options
			options.Dir, options.Name = fetched.Dir, summary.Dump
			if fetched.Globals != "" {
				options.Globals = fetched.Globals
			}
			summary, err = s.app.drill(ctx, s.d.Tracker, options)
		}
		return errors.Join(err, s.record(ctx, fetched.Path, &summary, err))
	})
	return summary, err
}

// record keeps what the drill of a dump came to; nothing, where it found nothing out.
func (s *setDrill) record(ctx context.Context, path string, summary *pgdrill.Summary, err error) error {
	record, detail := catalog.Drill{Set: s.set.ID, Dump: path, Tables: summary.Tables, Rows: summary.Rows}, ""
	switch {
	case err == nil && summary.Status == pgdrill.Proven:
		record.Outcome, detail = catalog.DrillProven, drillFacts(summary)
	case !errors.Is(err, capstan.ErrIncomplete):
		return nil
	case summary.Status == pgdrill.Partial:
		record.Outcome, detail = catalog.DrillPartial, err.Error()
	case summary.Status == pgdrill.Differs:
		record.Outcome, record.Tables, record.Rows, detail = catalog.DrillDiffers, 0, 0, err.Error()
	default:
		return nil
	}
	if err := s.d.Catalog.ExpectDrills(ctx, s.set.ID, s.dumps); err != nil {
		return err
	}
	return s.d.Catalog.Drilled(ctx, record, detail)
}

// limited bounds what is done with a dump; safe is what is so after its time is over.
func limited(ctx context.Context, timeout time.Duration, op, dump, safe string) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, &capstan.Error{
		Op: op, Object: dump, Err: fmt.Errorf("it is not through after %s", timeout), Safe: safe, Next: "give more time with --timeout",
	})
}

const drillSafe = "the scratch server is removed"
