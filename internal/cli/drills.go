package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
)

// drillDetail is what the last drill of a dump came to.
type drillDetail struct {
	Dump       string               `json:"dump"`
	At         time.Time            `json:"at,omitzero"`
	Proven     bool                 `json:"proven"`
	Outcome    catalog.DrillOutcome `json:"outcome"`
	LastProven time.Time            `json:"last_proven,omitzero"`
	Tables     int64                `json:"tables"`
	Rows       int64                `json:"rows"`
}

// drillsOf gives what is known of drills by set.
func drillsOf(ctx context.Context, d *daemon.Daemon) (map[capstan.SetID][]drillDetail, error) {
	list, err := d.Catalog.Drills(ctx)
	drills := map[capstan.SetID][]drillDetail{}
	for _, one := range list {
		drills[one.Set] = append(drills[one.Set], drillDetail{one.Dump, one.At, one.Outcome == catalog.DrillProven, one.Outcome, one.LastProven, one.Tables, one.Rows})
	}
	return drills, err
}

// lastProven is when a set with databases was last proven restorable, as a whole: when
// that dump was for which it is the longest ago. never is true where one of them never
// was; of a set without databases both are nothing.
func lastProven(set *capstan.Set, drills []drillDetail) (last time.Time, never bool) {
	if !daemon.AnyDatabase(set.Sources) {
		return last, false
	}
	for i, drill := range drills {
		if drill.LastProven.IsZero() {
			return time.Time{}, true
		}
		if i == 0 || drill.LastProven.Before(last) {
			last = drill.LastProven
		}
	}
	return last, len(drills) == 0
}

// drillStatus is what drills add to the status of a set: the worst of them.
func drillStatus(set *capstan.Set, drills []drillDetail) string {
	is := func(outcome catalog.DrillOutcome) func(drillDetail) bool {
		return func(d drillDetail) bool { return d.Outcome == outcome }
	}
	_, never := lastProven(set, drills)
	switch {
	case slices.ContainsFunc(drills, is(catalog.DrillDiffers)):
		return ", drill differs"
	case slices.ContainsFunc(drills, is(catalog.DrillPartial)), slices.ContainsFunc(drills, is(catalog.DrillProven)) && slices.ContainsFunc(drills, is(catalog.DrillNone)):
		return ", proven in part"
	case never && restorable(set.Status):
		return ", never proven"
	case len(drills) > 0:
		return ", proven"
	}
	return ""
}

// restorable reports whether a set of that status holds what is worth a drill.
func restorable(status capstan.RunStatus) bool {
	return status == capstan.RunComplete || status == capstan.RunPartial
}

// String is the drill for people.
func (d drillDetail) String() string {
	at := d.At.Local().Format(timeLayout)
	last := ", never proven"
	if !d.LastProven.IsZero() {
		last = ", last proven " + d.LastProven.Local().Format(timeLayout)
	}
	switch d.Outcome {
	case catalog.DrillProven:
		return fmt.Sprintf("proven restorable %s, %s, %s", at, plural(d.Tables, "table"), plural(d.Rows, "row"))
	case catalog.DrillPartial:
		return fmt.Sprintf("proven in part %s, %s, %s; not all could be restored there%s", at, plural(d.Tables, "table"), plural(d.Rows, "row"), last)
	case catalog.DrillNone:
		return "never drilled"
	case catalog.DrillDiffers:
	}
	return "differed " + at + last
}

// unproven tells of each job whose newest set with databases was never proven restorable,
// with the set before it that last was, and when; none: an empty name.
func unproven(ctx context.Context, d *daemon.Daemon, tell func(set *capstan.Set, before capstan.SetID, at time.Time)) error {
	sets, err := d.Catalog.Sets(ctx, catalog.SetFilter{}) // the newest first
	if err != nil {
		return err
	}
	drills, err := drillsOf(ctx, d)
	if err != nil {
		return err
	}
	seen := map[capstan.JobKey]bool{}
	for i := range sets {
		set := &sets[i].Set
		if seen[set.Job] || sets[i].Forgotten || !restorable(set.Status) || !daemon.AnyDatabase(set.Sources) {
			continue
		}
		seen[set.Job] = true
		if _, never := lastProven(set, drills[set.ID]); !never {
			continue
		}
		var before capstan.SetID
		var at time.Time
		for _, other := range sets[i+1:] {
			if last, never := lastProven(&other.Set, drills[other.ID]); other.Job == set.Job && !never && last.After(at) {
				before, at = other.ID, last
			}
		}
		tell(set, before, at)
	}
	return nil
}
