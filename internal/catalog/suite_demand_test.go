package catalog_test

import (
	"errors"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

// testDemand asks again for what is anything but on the volume.
func testDemand(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := stageSet(t, c, 9)
	states := []capstan.CopyState{
		capstan.CopyWritten, capstan.CopyVerified, capstan.CopyFailed, capstan.CopyDamaged, capstan.CopyMissing,
		capstan.CopyWriting, capstan.CopySealed, capstan.CopyForgotten, capstan.CopyQueued,
	}
	for i, state := range states {
		setCopy(t, c, set.ID, capstan.ArchiveNumber(i+1), volume, state)
	}
	must(t, c.FailCopy(ctx, set.ID, 3, volume, "full", noon.Add(time.Hour)))
	packing, err := c.PlanArchive(ctx, set.ID, capstan.CodecZstd, both...)
	must(t, err)
	alone := stageArchive(t, c, set.ID, second) // not meant for the first volume when it was packed
	for range 2 {
		must(t, c.Demand(ctx, set.ID, volume))
		requireCopies(t, c, set.ID, volume, capstan.CopyWritten, capstan.CopyVerified, capstan.CopyQueued, capstan.CopyQueued, capstan.CopyQueued,
			capstan.CopyQueued, capstan.CopyQueued, capstan.CopyQueued, capstan.CopyQueued, capstan.CopyPacking, capstan.CopyQueued)
		requireNext(t, c, set.ID, volume, noon, 3, 0) // the attempts begin anew
		requireDemands(t, c, set.ID, capstan.CopyQueued, capstan.CopyQueued)
	}
	_, _, err = c.DiscardUnsealed(ctx, set.ID)
	must(t, err)
	for number := range alone.Number {
		if number+1 != packing.Number {
			setCopy(t, c, set.ID, number+1, volume, capstan.CopyWritten)
		}
	}
	must(t, c.MeetDemand(ctx, set.ID, volume, capstan.Hash{1}))
	must(t, c.Demand(ctx, set.ID, both...))
	requireDemands(t, c, set.ID, capstan.CopyWritten, capstan.CopyQueued) // what is met stays so
	must(t, c.FailWaiting(ctx, set.ID, second, "gone"))
	must(t, c.Demand(ctx, set.ID, second))
	requireDemands(t, c, set.ID, capstan.CopyWritten, capstan.CopyQueued)
	setCopy(t, c, set.ID, 2, volume, capstan.CopyDamaged) // found by verify
	must(t, c.Demand(ctx, set.ID, volume))
	requireNext(t, c, set.ID, volume, noon, 2, 0)
	requireDemands(t, c, set.ID, capstan.CopyQueued, capstan.CopyQueued)
	if err := c.Demand(ctx, set.ID, "nowhere"); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a demand on an unknown volume: %v", err)
	}
	if err := c.Demand(ctx, "2026-11_000999", volume); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a demand for an unknown set: %v", err)
	}
}

func testDemandMet(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := stageSet(t, c, 2)
	refused := func(why string) {
		t.Helper()
		if err := c.MeetDemand(ctx, set.ID, volume, capstan.Hash{9}); err == nil {
			t.Errorf("the demand is met although %s", why)
		}
		if before, _, err := c.LastSums(ctx, volume, "another"); err != nil || before != "" {
			t.Errorf("its sums are recorded although %s: %s %v", why, before, err)
		}
		if err := c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}); err == nil {
			t.Errorf("the set is complete although %s", why)
		}
	}
	setCopy(t, c, set.ID, 1, volume, capstan.CopyWritten)
	for _, state := range []capstan.CopyState{
		capstan.CopyQueued, capstan.CopyWriting, capstan.CopyFailed, capstan.CopyDamaged, capstan.CopyMissing, capstan.CopyForgotten,
	} {
		setCopy(t, c, set.ID, 2, volume, state)
		refused("archive 2 is " + string(state))
	}
	setCopy(t, c, set.ID, 2, volume, capstan.CopyVerified)
	stageArchive(t, c, set.ID, second)
	refused("archive 3 was never meant for it")
	must(t, c.Demand(ctx, set.ID, volume))
	setCopy(t, c, set.ID, 3, volume, capstan.CopyWritten)
	for range 2 {
		must(t, c.MeetDemand(ctx, set.ID, volume, capstan.Hash{9}))
		requireDemands(t, c, set.ID, capstan.CopyWritten, capstan.CopyQueued)
	}
	if last, sum, err := c.LastSums(ctx, volume, "another"); err != nil || last != set.ID || sum != (capstan.Hash{9}) {
		t.Errorf("sums of %s %v %v", last, sum, err)
	}
	if err := c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}); err == nil {
		t.Error("the set is complete although the second volume lacks it")
	}
	for number := range capstan.ArchiveNumber(3) {
		setCopy(t, c, set.ID, number+1, second, capstan.CopyWritten)
	}
	must(t, c.MeetDemand(ctx, set.ID, second, capstan.Hash{8}))
	must(t, c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}))
	if err := c.MeetDemand(ctx, set.ID, "nowhere", capstan.Hash{}); err == nil {
		t.Error("an unknown volume holds the set")
	}
}

func testDemandAbandoned(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := stageSet(t, c, 4)
	setCopy(t, c, set.ID, 1, volume, capstan.CopyWritten)
	setCopy(t, c, set.ID, 2, volume, capstan.CopyDamaged)
	must(t, c.FailCopy(ctx, set.ID, 3, volume, "full", noon))
	for range 2 {
		must(t, c.AbandonDemand(ctx, set.ID, volume))
		requireCopies(t, c, set.ID, volume, capstan.CopyWritten, capstan.CopyForgotten, capstan.CopyForgotten, capstan.CopyForgotten)
		requireDemands(t, c, set.ID, capstan.CopyForgotten, capstan.CopyQueued)
		if due := requireNext(t, c, set.ID, volume, noon.Add(time.Hour), 0, 0); !due.IsZero() {
			t.Errorf("due at %v", due)
		}
	}
	requireNext(t, c, set.ID, second, noon, 1, 0)
	for number := range capstan.ArchiveNumber(4) {
		setCopy(t, c, set.ID, number+1, second, capstan.CopyWritten)
	}
	must(t, c.MeetDemand(ctx, set.ID, second, capstan.Hash{1}))
	must(t, c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{})) // nobody lacks it
	// Somebody wants it there after all.
	must(t, c.Demand(ctx, set.ID, volume))
	requireCopies(t, c, set.ID, volume, capstan.CopyWritten, capstan.CopyQueued, capstan.CopyQueued, capstan.CopyQueued)
	requireDemands(t, c, set.ID, capstan.CopyQueued, capstan.CopyWritten)
	requireNext(t, c, set.ID, volume, noon, 2, 0)
}

func requireAwaited(t *testing.T, c *catalog.Catalog, set capstan.SetID, want bool, when string) {
	t.Helper()
	if got, err := c.Awaited(t.Context(), set, 1); err != nil || got != want {
		t.Errorf("awaited %t, %v; want %t: %s", got, err, want, when)
	}
}

func testAwaited(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := stageSet(t, c, 1)
	requireAwaited(t, c, set.ID, true, "queued for both")
	setCopy(t, c, set.ID, 1, volume, capstan.CopyWritten)
	for _, state := range []capstan.CopyState{
		capstan.CopyQueued, capstan.CopyWriting, capstan.CopyFailed, capstan.CopyDamaged, capstan.CopyMissing,
	} {
		setCopy(t, c, set.ID, 1, second, state)
		requireAwaited(t, c, set.ID, true, "the second is "+string(state))
	}
	must(t, c.AbandonDemand(ctx, set.ID, second))
	requireAwaited(t, c, set.ID, false, "one has it, nobody wants it on the other")
	setCopy(t, c, set.ID, 1, second, capstan.CopyVerified)
	requireAwaited(t, c, set.ID, false, "both have it")
	setCopy(t, c, set.ID, 1, volume, capstan.CopyForgotten)
	setCopy(t, c, set.ID, 1, second, capstan.CopyForgotten)
	requireAwaited(t, c, set.ID, true, "wanted nowhere, but nowhere is it either")
	must(t, c.SetStatus(ctx, set.ID, capstan.RunFailed, capstan.Counts{}))
	requireAwaited(t, c, set.ID, false, "somebody said that it may be lost")
	must(t, c.Demand(ctx, set.ID, second))
	requireAwaited(t, c, set.ID, true, "and wants it all the same")
	letGo(t, c, set.ID)
	requireAwaited(t, c, set.ID, false, "the set is forgotten")
	if _, err := c.Awaited(ctx, "2026-11_000999", 1); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("an unknown set: %v", err)
	}
}

// testDemandsGo forgets and deletes sets that volumes still wait for.
func testDemandsGo(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	must(t, c.EnsureStage(ctx, "/stage", "one"))
	wanted := func(want bool, when string) {
		t.Helper()
		if id, got, err := c.StageAt(ctx, "/stage"); err != nil || id != "one" || got != want {
			t.Errorf("stage %q wanted %t, %v; want %t: %s", id, got, err, want, when)
		}
	}
	wanted(false, "no set")
	kept, forgotten, deleted := stageSet(t, c, 1), stageSet(t, c, 1), stageSet(t, c, 1)
	wanted(true, "three sets")
	letGo(t, c, forgotten.ID)
	requireDemands(t, c, forgotten.ID, capstan.CopyForgotten, capstan.CopyForgotten)
	requireNext(t, c, forgotten.ID, volume, noon, 0, 0)
	must(t, c.DeleteSet(ctx, deleted.ID))
	if _, err := c.Demands(ctx, deleted.ID); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("demands of a deleted set: %v", err)
	}
	requireDemands(t, c, kept.ID, capstan.CopyQueued, capstan.CopyQueued)
	requireNext(t, c, kept.ID, volume, noon, 1, 0)
	wanted(true, "one set")
	for _, on := range both {
		setCopy(t, c, kept.ID, 1, on, capstan.CopyWritten)
	}
	wanted(false, "the set's archives are on both volumes, only its own files are not")
	set := begin(t, c)
	must(t, c.Demand(ctx, set.ID, volume))
	plan(t, c, set.ID)
	wanted(false, "a set whose archives are packed on the volume itself")
	must(t, c.FailWaiting(ctx, stageSet(t, c, 1).ID, second, "gone"))
	wanted(true, "a volume was given up")
	empty := begin(t, c)
	must(t, c.Demand(ctx, empty.ID, both...))
	must(t, c.SkipSet(ctx, empty.ID)) // its name was taken on a volume
}

// testDemandImported reads sets from volumes whose catalog knows more, or nothing.
func testDemandImported(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := stageSet(t, c, 2)
	for number := range capstan.ArchiveNumber(2) {
		setCopy(t, c, set.ID, number+1, volume, capstan.CopyWritten)
	}
	must(t, c.MeetDemand(ctx, set.ID, volume, capstan.Hash{1}))
	must(t, c.FailWaiting(ctx, set.ID, second, "gone"))
	must(t, c.SetStatus(ctx, set.ID, capstan.RunPartial, capstan.Counts{}))
	known, err := c.Set(ctx, set.ID)
	must(t, err)
	archives, err := c.Archives(ctx, set.ID)
	must(t, err)
	nothing := func(func(capstan.Entry, error) bool) {}
	imported, err := c.Import(ctx, known, archives, second, nothing)
	if err != nil || imported {
		t.Fatalf("imported %t, %v", imported, err)
	}
	// The catalog knows that the copies failed; they wait for a person still.
	requireCopies(t, c, set.ID, second, capstan.CopyFailed, capstan.CopyFailed)
	requireDemands(t, c, set.ID, capstan.CopyWritten, capstan.CopyFailed)
	letGo(t, c, set.ID)
	_, err = c.Import(ctx, known, archives, volume, nothing)
	must(t, err)
	requireDemands(t, c, set.ID, capstan.CopyForgotten, capstan.CopyForgotten)
	// A catalog that knows nothing takes the volume's word, of one volume and of the other.
	anew := open(t)
	for _, on := range both {
		must(t, anew.EnsureVolume(ctx, capstan.VolumeInfo{ID: on, Kind: "dir", Location: "/mnt/" + string(on), Created: noon}))
		_, err := anew.Import(ctx, known, archives, on, nothing)
		must(t, err)
		requireCopies(t, anew, set.ID, on, capstan.CopyWritten, capstan.CopyWritten)
	}
	requireDemands(t, anew, set.ID, capstan.CopyWritten, capstan.CopyWritten)
	must(t, anew.DeleteSet(ctx, set.ID))
}
