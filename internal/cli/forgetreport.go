package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/output"
	"capstan/internal/pipeline"
	"capstan/internal/policy"
)

// verdictLine is what becomes of one set, in --json output.
type verdictLine struct {
	Set      capstan.SetID     `json:"set"`
	Job      capstan.JobKey    `json:"job"`
	Status   capstan.RunStatus `json:"status"`
	Started  time.Time         `json:"started"`
	BytesOut capstan.Bytes     `json:"bytes_out"`
	Keep     bool              `json:"keep"`
	Reasons  []policy.Reason   `json:"reasons"`
	Why      string            `json:"why"` // the reasons, for people
}

// forgetReport is what forget did or would do: the last line of --json output.
type forgetReport struct {
	Type   string              `json:"type"` // always "summary"
	Done   bool                `json:"done"` // false: this is a plan, and nothing was changed
	Kept   int                 `json:"kept"`
	LetGo  []capstan.SetID     `json:"let_go"`
	Freed  capstan.Bytes       `json:"freed"`
	Erased []pipeline.Erasure  `json:"erased,omitempty"`
	Left   []pipeline.Leftover `json:"left,omitempty"` // forgotten, but not gone from these volumes

	lines []verdictLine
	sets  map[capstan.SetID]*catalog.SetInfo // as they were before
}

// add notes the verdicts of a job, the oldest set first.
func (r *forgetReport) add(job capstan.JobKey, plan policy.Plan) {
	for _, v := range slices.Backward(plan) {
		line := verdictLine{Set: v.Set, Job: job, Keep: v.Keep, Reasons: v.Reasons}
		if set := r.sets[v.Set]; set != nil {
			line.Status, line.Started, line.BytesOut = set.Status, set.Started, set.Counts.BytesOut
		}
		texts := make([]string, len(v.Reasons))
		for i, reason := range v.Reasons {
			texts[i] = reason.String()
		}
		line.Why = strings.Join(texts, ", ")
		if v.Keep {
			r.Kept++
		} else {
			r.LetGo = append(r.LetGo, v.Set)
		}
		r.lines = append(r.lines, line)
	}
}

// forgetResult prints the verdicts, and last what was done.
func (a *app) forgetResult(ctx context.Context, r *forgetReport) error {
	rows := make([][]string, 0, len(r.lines))
	for _, line := range r.lines {
		if a.flags.json {
			if err := a.object(line); err != nil {
				return err
			}
			continue
		}
		verdict := "forget"
		if line.Keep {
			verdict = "keep"
		}
		rows = append(rows, []string{
			string(line.Set), line.Started.Local().Format(timeLayout), line.BytesOut.String(), string(line.Job), verdict, line.Why,
		})
	}
	if err := a.table([]string{"SET", "STARTED", "STORED", "JOB", "VERDICT", "WHY"}, rows); err != nil {
		return err
	}
	if r.LetGo == nil {
		r.LetGo = []capstan.SetID{}
	}
	a.finish(ctx, r.text(), r)
	return nil
}

// text is the end of the report for people.
func (r *forgetReport) text() string {
	var b strings.Builder
	gone := plural(int64(len(r.LetGo)), "set")
	kept := output.Count(int64(r.Kept))
	switch {
	case !r.Done && len(r.LetGo) == 0:
		fmt.Fprintf(&b, "nothing would be forgotten, %s kept\n", kept)
	case !r.Done:
		fmt.Fprintf(&b, "%s would be forgotten, %s kept; nothing was changed: --yes does it\n", gone, kept)
	default:
		fmt.Fprintf(&b, "%s forgotten, %s kept, %s freed\n", gone, kept, r.Freed)
	}
	for _, l := range r.Left {
		fmt.Fprintf(&b, "  set %s is forgotten, but %s still holds some of it", l.Set, output.Clean(l.Location))
		if l.Problem != "" {
			fmt.Fprintf(&b, ": %s", output.Clean(l.Problem))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
