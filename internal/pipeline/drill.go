package pipeline

import (
	"context"
	"errors"
	"time"

	"capstan"
)

// Drill is the record of a drill: of which set, if it is of one.
type Drill struct {
	Set capstan.SetID  // empty: the dump is no set's
	Job capstan.JobKey // of the set
}

// DrillResult is what a drill's row in the catalog says in the end.
type DrillResult struct {
	Counts  capstan.Counts // entries are tables
	Summary any            // of this run, as JSON
}

// drillGrace is what a drill has to end once it is cancelled: its server is stopped,
// and all that it holds removed.
const drillGrace = 80 * time.Second

// Drill does the work of a drill as a run: others can watch and cancel it. tell makes
// what the catalog keeps of it, from how the work ended; where left is true the work was
// left behind and may still be going on. The work looks itself after standing still. The
// error is that of work, completed by the cancellation that led to it. A catalog that
// cannot be written keeps no drill from being carried out.
func (e *Engine) Drill(ctx context.Context, d Drill, work func(ctx context.Context) error, tell func(run capstan.RunID, status capstan.RunStatus, err error, left bool) DrillResult) error {
	return e.read(ctx, reading{kind: KindDrill, set: d.Set, job: d.Job, patience: Patience{Grace: drillGrace}}, work, func(end ending) (result, error) {
		if errors.Is(end.err, capstan.ErrIncomplete) && end.status == capstan.RunFailed {
			end.status = capstan.RunPartial
		}
		told := tell(end.run, end.status, end.err, end.stuck)
		return result{end.status, told.Counts, told.Summary}, end.err
	})
}
