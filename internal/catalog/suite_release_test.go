package catalog_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/policy"
)

// copyTo records that a set lies on a second volume as well.
func copyTo(t *testing.T, c *catalog.Catalog, set capstan.SetID, second capstan.VolumeID) {
	t.Helper()
	must(t, c.Demand(t.Context(), set, second))
	must(t, c.SetCopy(t.Context(), set, 1, second, capstan.CopyWritten, "", noon))
	must(t, c.MeetDemand(t.Context(), set, second, capstan.Hash{2, byte(set.Number())}))
}

// on gives the sets that a volume holds, by id.
func on(t *testing.T, c *catalog.Catalog, where capstan.VolumeID) map[capstan.SetID]policy.Set {
	t.Helper()
	sets, err := c.Retained(t.Context(), job, where)
	must(t, err)
	all := map[capstan.SetID]policy.Set{}
	for _, s := range sets {
		all[s.ID] = s
	}
	return all
}

// testRelease lets sets go on one volume alone.
func testRelease(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	const second = "second"
	both, base, alone := held(t, c), held(t, c), held(t, c)
	must(t, c.EnsureVolume(ctx, capstan.VolumeInfo{ID: second, Kind: "dir", Location: "/second"}))
	copyTo(t, c, both, second)
	// A set on the second volume alone builds on one that only the first has.
	built := held(t, c)
	must(t, c.BuildOn(ctx, built, base))
	copyTo(t, c, built, second)
	must(t, c.SetCopy(ctx, built, 1, volume, capstan.CopyForgotten, "", noon))
	must(t, c.AbandonDemand(ctx, built, volume))

	first := on(t, c, volume)
	if len(first) != 3 || first[base].Needed != built || first[both].Needed != "" || !first[alone].Whole {
		t.Errorf("on the first volume: %+v", first)
	}
	if there := on(t, c, second); len(there) != 2 || !there[both].Whole || !there[built].Whole || !slices.Equal(there[both].On, []capstan.VolumeID{second}) {
		t.Errorf("on the second volume: %+v", there)
	}
	asked := func(sets []policy.Set) policy.Plan { return policy.Choose(sets, []capstan.SetID{both, base, alone}) }
	plan, err := c.Forget(ctx, job, "", asked, volume)
	must(t, err)
	if gone := plan.LetGo(); len(gone) != 2 || slices.Contains(gone, base) {
		t.Errorf("let go: %v of %+v", gone, plan)
	}
	// One stays elsewhere, the other is forgotten.
	if _, was, err := c.WasForgotten(ctx, both); err != nil || was {
		t.Errorf("the one that lies elsewhere: forgotten %v %v", was, err)
	}
	if _, was, err := c.WasForgotten(ctx, alone); err != nil || !was {
		t.Errorf("the one that lies nowhere else: forgotten %v %v", was, err)
	}
	left, err := c.Forgotten(ctx, job)
	must(t, err)
	if len(left) != 2 || left[0].ID != alone || left[0].Kept || left[1].ID != both || !left[1].Kept || !slices.Equal(left[1].Volumes, []capstan.VolumeID{volume}) {
		t.Errorf("to be removed: %+v", left)
	}
	if err := c.Erased(ctx, both, second, ""); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("erased where it stays: %v", err)
	}
	for range 2 { // it may be repeated, but the second finds nothing to drop
		if err := c.Erased(ctx, both, volume, "gone"); err != nil && !errors.Is(err, capstan.ErrNotFound) {
			t.Error(err)
		}
	}
	copies, err := c.Copies(ctx, both)
	must(t, err)
	if len(copies) != 1 || copies[0].Volume != second || copies[0].State != capstan.CopyWritten {
		t.Errorf("copies that are left: %+v", copies)
	}
	if left, err := c.Forgotten(ctx, job); err != nil || len(left) != 1 {
		t.Errorf("afterwards to be removed: %+v %v", left, err)
	}
	if problems, err := c.Check(ctx); err != nil || len(problems) > 0 {
		t.Errorf("check: %q %v", problems, err)
	}
}

// testConsolidated orders sets by the moment that they show.
func testConsolidated(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	older, newer := held(t, c), held(t, c)
	was, err := c.Set(ctx, older)
	must(t, err)
	set, err := c.BeginConsolidated(ctx, was, capstan.CodecGzip, []string{"age1someone"}, noon.Add(time.Hour))
	must(t, err)
	if set.ID.Number() <= newer.Number() || set.Consolidates != older || !set.Started.Equal(was.Started) || !set.Encrypted() || set.Host != was.Host {
		t.Errorf("begun: %+v", set)
	}
	archive, err := c.PlanArchive(ctx, set.ID, capstan.CodecGzip, volume)
	must(t, err)
	commit(t, c, archive)
	must(t, c.SetStatus(ctx, set.ID, capstan.RunPartial, capstan.Counts{Entries: 3, Failed: 1}))
	sets, err := c.Sets(ctx, catalog.SetFilter{Job: job})
	must(t, err)
	var order []capstan.SetID
	for _, s := range sets {
		order = append(order, s.ID)
	}
	if !slices.Equal(order, []capstan.SetID{newer, set.ID, older}) {
		t.Errorf("newest first: %v", order)
	}
	for _, of := range []capstan.JobKey{"", job} {
		if latest, err := c.Latest(ctx, of); err != nil || latest.ID != newer {
			t.Errorf("latest of %q: %s %v", of, latest.ID, err)
		}
	}
	retained, err := c.Retained(ctx, job)
	must(t, err)
	if last := retained[len(retained)-1]; last.ID != set.ID || last.Consolidates != older || last.Failed != 1 {
		t.Errorf("retained: %+v", last)
	}
	if problems, err := c.Check(ctx); err != nil || len(problems) > 0 {
		t.Errorf("check: %q %v", problems, err)
	}
}
