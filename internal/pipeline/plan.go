package pipeline

import (
	"context"

	"capstan"
)

// RestorePlan says what a restore would read and write.
type RestorePlan struct {
	Set      capstan.SetID    `json:"set"`
	Target   string           `json:"target"`
	Entries  int64            `json:"entries"`
	Bytes    capstan.Bytes    `json:"bytes"`
	Archives []PlannedArchive `json:"archives"`
}

// PlannedArchive is an archive that the restore reads, in the order of reading.
type PlannedArchive struct {
	Name     string        `json:"name"`
	Location string        `json:"location"` // of a volume with a good copy; empty if there is none
	Entries  int64         `json:"entries"`
	Bytes    capstan.Bytes `json:"bytes"` // of content
}

// Plan tells what Restore would do, and touches nothing. It fails as Restore
// would for a set or a path that is not there.
func (e *Engine) Plan(ctx context.Context, job Restore) (RestorePlan, error) {
	plan := RestorePlan{Set: job.Set, Target: job.Target}
	view, err := e.restorable(ctx, job.Set)
	if err != nil {
		return plan, err
	}
	want, err := newSelection(job.Paths)
	if err != nil {
		return plan, err
	}
	if err := view.preflight(ctx, job, want); err != nil {
		return plan, err
	}
	archives := map[place]*PlannedArchive{}
	for entry, err := range view.selected(ctx, want) {
		if err != nil {
			return plan, err
		}
		plan.Entries++
		plan.Bytes += capstan.Bytes(entry.StoredSize())
		if entry.StoredSize() == 0 {
			continue
		}
		parts := entry.Parts
		if len(parts) == 0 {
			parts = []capstan.Part{{Location: entry.Location}}
		}
		for _, part := range parts {
			at := place{entry.Set, part.Archive}
			a := archives[at]
			if a == nil {
				a = &PlannedArchive{}
				archives[at] = a
			}
			a.Entries++
			a.Bytes += capstan.Bytes(part.Size)
		}
	}
	for _, set := range view.Chain {
		if err := e.locate(ctx, &plan, set.ID, archives); err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// place is an archive of a chain of sets.
type place struct {
	set    capstan.SetID
	number capstan.ArchiveNumber
}

// locate names the archives of one set that a plan reads, and where they lie.
func (e *Engine) locate(ctx context.Context, plan *RestorePlan, set capstan.SetID, archives map[place]*PlannedArchive) error {
	known, err := e.Catalog.Archives(ctx, set)
	if err != nil {
		return err
	}
	copies, err := e.Catalog.Copies(ctx, set)
	if err != nil {
		return err
	}
	for _, c := range copies {
		a := archives[place{set, c.Number}]
		if a == nil || a.Location != "" || (c.State != capstan.CopyWritten && c.State != capstan.CopyVerified) {
			continue
		}
		volume, err := e.Catalog.Volume(ctx, c.Volume)
		if err != nil {
			return err
		}
		a.Location = volume.Location
	}
	for _, archive := range known {
		if a := archives[place{set, archive.Number}]; a != nil {
			a.Name = archive.Name
			plan.Archives = append(plan.Archives, *a)
		}
	}
	return nil
}
