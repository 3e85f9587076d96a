package pipeline

import (
	"context"
	"fmt"
	"slices"

	"capstan"
	"capstan/internal/catalog"
)

// gaps warns of volumes of this run that lack archives of the sets that its set
// builds on: such a volume alone cannot restore the set, however whole the set's
// own archives are there.
func (r *backupRun) gaps(ctx context.Context, base *View) error {
	told := map[capstan.VolumeID]bool{}
	for _, set := range base.Chain {
		archives, err := r.Catalog.Archives(ctx, set.ID)
		if err != nil {
			return err
		}
		copies, err := r.Catalog.Copies(ctx, set.ID)
		if err != nil {
			return err
		}
		there := map[capstan.VolumeID]int{}
		for _, c := range copies {
			if c.State == capstan.CopyWritten || c.State == capstan.CopyVerified {
				there[c.Volume]++
			}
		}
		for _, v := range r.Volumes {
			lacks := len(archives) - there[v.Info.ID]
			if lacks <= 0 || told[v.Info.ID] {
				continue
			}
			told[v.Info.ID] = true
			next, err := r.bridge(ctx, set.ID, v.Info.ID)
			if err != nil {
				return err
			}
			r.Warn("this set builds on set %s, of which %s lacks %d of %d archives: from that volume alone it cannot be restored; next: %s",
				set.ID, v.Info.Location, lacks, len(archives), next)
		}
	}
	return nil
}

// reaches reports whether the volumes of this run together hold, or are to get, all
// that its set would build on: a set must be restorable from where it is put.
func (r *backupRun) reaches(ctx context.Context, base *View) (bool, error) {
	ids := r.volumeIDs()
	for _, set := range base.Chain {
		archives, err := r.Catalog.Archives(ctx, set.ID)
		if err != nil {
			return false, err
		}
		copies, err := r.Catalog.Copies(ctx, set.ID)
		if err != nil {
			return false, err
		}
		here := make(map[capstan.ArchiveNumber]bool, len(archives))
		for _, c := range copies {
			if c.State != capstan.CopyForgotten && slices.Contains(ids, c.Volume) {
				here[c.Number] = true
			}
		}
		for _, a := range archives {
			if !here[a.Number] {
				return false, nil
			}
		}
	}
	return true, nil
}

// bridge says how a volume gets what it lacks of a set, or does without it.
func (r *backupRun) bridge(ctx context.Context, set capstan.SetID, volume capstan.VolumeID) (next string, err error) {
	demands, err := r.Catalog.Demands(ctx, set)
	if err != nil {
		return "", err
	}
	for _, d := range demands {
		if d.Volume == volume && d.State != capstan.CopyWritten && d.State != capstan.CopyForgotten {
			if next, err = r.retryOf(ctx, set); next != "" || err != nil {
				return next, err
			}
		}
	}
	return "a full backup, which builds on nothing", nil
}

// retryOf is the command that brings a set to the volumes that lack it; empty for
// a set without a run.
func (e *Engine) retryOf(ctx context.Context, set capstan.SetID) (string, error) {
	runs, err := e.Catalog.Runs(ctx, catalog.RunFilter{Set: set})
	for i := range runs {
		switch runs[i].Kind {
		case kindBackup, kindResume, kindConsolidate, kindRetry:
			return fmt.Sprintf("capstan retry %d", runs[i].ID), err
		}
	}
	return "", err
}
