package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"capstan"
	"capstan/internal/copier"
	"capstan/internal/progress"
)

// Summary is the result of a run, as the command contract promises it.
type Summary struct {
	Type   string            `json:"type"` // always "summary"
	Run    capstan.RunID     `json:"run"`
	Set    capstan.SetID     `json:"set"`
	Status capstan.RunStatus `json:"status"`
	// Consolidates is the set whose tree this one holds by itself; empty for a backup.
	Consolidates capstan.SetID          `json:"consolidates,omitempty"`
	Resumed      bool                   `json:"resumed,omitempty"`
	Archives     int                    `json:"archives"`
	Seconds      float64                `json:"seconds"`
	Stages       []progress.StageReport `json:"stages"`
	Bound        string                 `json:"bottleneck,omitempty"`
	Volumes      []copier.Outcome       `json:"volumes,omitempty"` // where the set went through the stage
	Error        string                 `json:"error,omitempty"`
	Problems     []Problem              `json:"problems,omitempty"`
	// Forgotten are the sets of the job that its policy let go of after the run. The
	// catalog's copy of the summary is made before that, and has none.
	Forgotten []capstan.SetID `json:"forgotten,omitempty"`
	capstan.Counts
}

// summary is what every kind of run tells of itself.
func (r *backupRun) summary(status capstan.RunStatus, err error) Summary {
	s := Summary{
		Type: "summary", Run: r.run, Set: r.set.ID, Consolidates: r.set.Consolidates, Status: status, Resumed: r.resumed,
		Seconds: r.Now().Sub(r.started).Seconds(),
		Stages:  r.Tracker.Report(), Bound: r.Tracker.Bottleneck(), Volumes: r.volumeOutcomes(),
	}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

// finish records how the run ended, in the catalog and in the summary.
func (r *backupRun) finish(ctx context.Context, runErr error) (Summary, error) {
	counts, archives, list := r.tally.read()
	outcomes := r.volumeOutcomes()
	lacking := lacks(outcomes)
	status, runErr := endOf(ctx, runErr)
	setStatus := capstan.RunComplete
	switch {
	case runErr != nil:
		// The set stays resumable: its sealed archives are good.
		setStatus = capstan.RunInterrupted
	case counts.Failed > 0, lacking > 0:
		status, setStatus = capstan.RunPartial, capstan.RunPartial
	}
	for _, o := range outcomes {
		if o.State != capstan.CopyWritten && runErr == nil {
			list.add("volume "+o.Location, o.Problem)
		}
	}
	summary := r.summary(status, runErr)
	summary.Archives, summary.Problems, summary.Counts = archives, list.List, counts
	if r.set.ID == "" {
		return summary, runErr
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	text, err := json.Marshal(summary)
	if err == nil {
		err = r.Catalog.SetStatus(cleanup, r.set.ID, setStatus, counts)
	}
	if r.run != 0 { // else the end came before it stood in the catalog
		err = errors.Join(err, r.Catalog.FinishRun(cleanup, r.run, status, counts, text))
	}
	if err != nil && runErr == nil { // the catalog could not say so: it is not so
		summary.Status, summary.Error = capstan.RunFailed, err.Error()
	}
	switch {
	case runErr != nil:
		err = errors.Join(runErr, err)
	case err == nil && status == capstan.RunPartial:
		err = &capstan.Error{
			Class: capstan.ErrIncomplete, Op: "set", Object: string(r.set.ID),
			Err:  fmt.Errorf("%d of %d entries could not be read", counts.Failed, counts.Entries),
			Safe: "all others are stored", Next: "see: capstan show " + string(r.set.ID),
		}
		if lacking > 0 {
			err = lackingError(r.set.ID, r.run, counts, outcomes)
		}
	}
	return summary, err
}
