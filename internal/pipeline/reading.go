package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

// recordPatience bounds how long a run that makes no set waits to be recorded:
// what it is for must not fail, or be late, for want of a record.
const recordPatience = 5 * time.Second

// readGrace is what such a run has to end once it is cancelled: it owes no records.
const readGrace = 10 * time.Second

// reading is a run that makes no set: a restore, a verification or a drill.
type reading struct {
	kind string
	part bool           // of another run, whose row stands for it
	set  capstan.SetID  // empty: several, or all
	job  capstan.JobKey // of the set

	patience Patience
}

// result is what such a run came to.
type result struct {
	status  capstan.RunStatus
	counts  capstan.Counts
	summary any // of this run
}

// ending is how the work of a run ended.
type ending struct {
	run    capstan.RunID     // 0: it is not in the catalog
	status capstan.RunStatus // complete, unless err says why not
	err    error
	stuck  bool // it was left behind, and may still be at work
}

// read does work as a run that stands in the catalog: others can watch and cancel
// it. tell makes the result of how the work ended. Work that does not return within
// a grace of being cancelled is left behind, so that a volume that hangs does not
// hold the run.
func (e *Engine) read(ctx context.Context, r reading, work func(context.Context) error, tell func(ending) (result, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var run capstan.RunID
	if !r.part {
		run = e.beginReading(ctx, r)
	}
	beat, stop := context.WithCancel(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		if run != 0 {
			_ = e.beat(beat, run, r.kind, cancel) // it says itself what failed
		}
	}()
	if r.patience.Grace == 0 {
		r.patience.Grace = readGrace
	}
	err, stuck := e.watched(ctx, cancel, r.patience, whole{}, work)
	stop()
	<-beating
	status, err := endOf(ctx, err)
	ended, err := tell(ending{run, status, err, stuck})
	if run == 0 {
		return err
	}
	text, jsonErr := json.Marshal(ended.summary)
	records, done := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer done()
	if recordErr := errors.Join(jsonErr, e.Catalog.FinishRun(records, run, ended.status, ended.counts, text)); recordErr != nil {
		e.Say("the catalog could not record how the %s ended: %v", r.kind, recordErr)
	}
	return err
}

// beginReading gives the number of the run; 0 if the catalog cannot be written.
func (e *Engine) beginReading(ctx context.Context, r reading) capstan.RunID {
	records, done := context.WithTimeout(ctx, recordPatience)
	defer done()
	e.bury(records)
	run, err := e.Catalog.BeginRun(records, r.set, r.job, r.kind, e.Now())
	if err != nil {
		if ctx.Err() == nil {
			e.Say("the catalog could not record this %s, which goes on without: %v", r.kind, err)
		}
		return 0
	}
	return run
}

// bury marks the runs whose processes are gone: those that make no set have no next
// run of their job that would.
func (e *Engine) bury(ctx context.Context) {
	runs, err := e.Catalog.Runs(ctx, catalog.RunFilter{Running: true})
	for i := range runs {
		if err == nil && e.Catalog.Gone(runs[i]) {
			_, err = e.Catalog.InterruptRun(ctx, runs[i].ID)
		}
	}
	_ = err // the record that follows says that the catalog cannot be written
}

// whole is a run that can do without no part of its work.
type whole struct{}

func (whole) cut(string, error) bool { return false }

func (whole) hint(string) (safe, next string) {
	return "what is done stays", "look at what it waits for"
}
