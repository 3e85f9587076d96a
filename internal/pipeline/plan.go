package pipeline

import (
	"context"
	"maps"
	"slices"

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
	if _, err := e.restorable(ctx, job.Set); err != nil {
		return plan, err
	}
	want, err := newSelection(job.Paths)
	if err != nil {
		return plan, err
	}
	if err := e.preflight(ctx, job, want); err != nil {
		return plan, err
	}
	archives := map[capstan.ArchiveNumber]*PlannedArchive{}
	for entry, err := range e.selected(ctx, job.Set, want) {
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
			a := archives[part.Archive]
			if a == nil {
				a = &PlannedArchive{}
				archives[part.Archive] = a
			}
			a.Entries++
			a.Bytes += capstan.Bytes(part.Size)
		}
	}
	return plan, e.locate(ctx, &plan, archives)
}

// locate names the archives of a plan and where they lie.
func (e *Engine) locate(ctx context.Context, plan *RestorePlan, archives map[capstan.ArchiveNumber]*PlannedArchive) error {
	known, err := e.Catalog.Archives(ctx, plan.Set)
	if err != nil {
		return err
	}
	copies, err := e.Catalog.Copies(ctx, plan.Set)
	if err != nil {
		return err
	}
	for _, archive := range known {
		if a := archives[archive.Number]; a != nil {
			a.Name = archive.Name
		}
	}
	for _, c := range copies {
		a := archives[c.Number]
		if a == nil || a.Location != "" || (c.State != capstan.CopyWritten && c.State != capstan.CopyVerified) {
			continue
		}
		volume, err := e.Catalog.Volume(ctx, c.Volume)
		if err != nil {
			return err
		}
		a.Location = volume.Location
	}
	for _, number := range slices.Sorted(maps.Keys(archives)) {
		plan.Archives = append(plan.Archives, *archives[number])
	}
	return nil
}
