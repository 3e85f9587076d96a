package catalog_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/policy"
)

// letGo forgets the named sets of the job of this suite, whatever they are.
func letGo(t *testing.T, c *catalog.Catalog, ids ...capstan.SetID) {
	t.Helper()
	_, err := c.Forget(t.Context(), job, "the test", func(sets []policy.Set) (plan policy.Plan) {
		for _, s := range sets {
			plan = append(plan, policy.Verdict{
				Set: s.ID, Keep: !slices.Contains(ids, s.ID), Reasons: []policy.Reason{{Rule: policy.Asked}},
			})
		}
		return append(plan, policy.Verdict{Set: "1999-01_000001", Reasons: []policy.Reason{{Rule: policy.Asked}}}) // of another job
	})
	must(t, err)
}

// held makes a complete set with an archive of two entries.
func held(t *testing.T, c *catalog.Catalog) capstan.SetID {
	t.Helper()
	set := begin(t, c)
	archive := plan(t, c, set.ID)
	add(t, c, set.ID, dir("a", archive.Number), file("a/b", archive.Number), excluded("a/c"))
	commit(t, c, archive)
	must(t, c.Demand(t.Context(), set.ID, volume))
	must(t, c.MeetDemand(t.Context(), set.ID, volume, capstan.Hash{byte(set.ID.Number())}))
	must(t, c.SetStatus(t.Context(), set.ID, capstan.RunComplete, capstan.Counts{Entries: 3}))
	return set.ID
}

func testRetention(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	whole, damaged, waiting := held(t, c), held(t, c), held(t, c)
	must(t, c.SetCopy(ctx, damaged, 1, volume, capstan.CopyDamaged, "bits", noon))
	must(t, c.EnsureVolume(ctx, capstan.VolumeInfo{ID: "second", Kind: "dir", Location: "/second"}))
	must(t, c.Demand(ctx, waiting, "second"))
	must(t, c.Pin(ctx, whole, "root", "before the move"))
	open3 := begin(t, c)
	must(t, c.BuildOn(ctx, open3.ID, waiting))
	must(t, c.EnsureJob(ctx, "other", "", nil, nil))
	other, err := c.BeginSet(ctx, "other", "host", capstan.CodecNone, nil, noon)
	must(t, err)

	reading, err := c.BeginRun(ctx, damaged, job, "restore", noon)
	must(t, err)
	if sets, err := c.Retained(ctx, job); err != nil || !sets[1].InUse || sets[0].InUse {
		t.Errorf("while one is restored: %+v %v", sets, err)
	}
	must(t, c.FinishRun(ctx, reading, capstan.RunComplete, capstan.Counts{}, nil))
	sets, err := c.Retained(ctx, job)
	must(t, err)
	on := []capstan.VolumeID{volume}
	want := []policy.Set{
		{ID: whole, On: on, Started: noon, Status: capstan.RunComplete, Whole: true, Pinned: true},
		{ID: damaged, On: on, Started: noon, Status: capstan.RunComplete},
		{ID: waiting, On: on, Started: noon, Status: capstan.RunComplete, Whole: true, Waiting: true},
		{ID: open3.ID, Base: waiting, Started: noon, Status: capstan.RunRunning, Whole: true},
	}
	if !slices.EqualFunc(sets, want, func(a, b policy.Set) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("got  %+v\nwant %+v", sets, want)
	}
	must(t, c.SetCopy(ctx, damaged, 1, "second", capstan.CopyVerified, "", noon))
	if sets, err := c.Retained(ctx, job); err != nil || !sets[1].Whole {
		t.Errorf("with a good copy elsewhere: %+v %v", sets, err)
	}
	letGo(t, c, damaged)
	if sets, err := c.Retained(ctx, job); err != nil || len(sets) != 3 {
		t.Errorf("after one was forgotten: %+v %v", sets, err)
	}
	if sets, err := c.Retained(ctx, "other"); err != nil || len(sets) != 1 || sets[0].ID != other.ID {
		t.Errorf("of the other job: %+v %v", sets, err)
	}
}

func testDrills(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	first, second := held(t, c), held(t, c)
	must(t, c.Drilled(ctx, catalog.Drill{Set: second, Dump: "srv/b\xff", Outcome: catalog.DrillDiffers}, "one row is missing"))
	must(t, c.Drilled(ctx, catalog.Drill{Set: second, Dump: "app", Outcome: catalog.DrillProven, Tables: 7, Rows: 1 << 40}, "7 tables"))
	must(t, c.Drilled(ctx, catalog.Drill{Set: first, Dump: "app", Outcome: catalog.DrillProven, Tables: 1}, ""))
	must(t, c.Drilled(ctx, catalog.Drill{Set: first, Dump: "app", Outcome: catalog.DrillDiffers}, "a row is missing"))
	drills, err := c.Drills(ctx)
	if err != nil || len(drills) != 3 {
		t.Fatalf("%+v %v", drills, err)
	}
	if d := drills[0]; d.Set != first || d.Dump != "app" || d.Outcome != catalog.DrillDiffers || d.At.IsZero() || d.LastProven.IsZero() || d.Tables != 0 {
		t.Errorf("after a drill that was proven and one that was not: %+v", d)
	}
	if d := drills[1]; d.Set != second || d.Dump != "app" || d.Outcome != catalog.DrillProven || d.At.IsZero() || !d.LastProven.Equal(d.At) || d.Tables != 7 || d.Rows != 1<<40 {
		t.Errorf("proven: %+v", d)
	}
	if d := drills[2]; d.Dump != "srv/b\xff" || d.Outcome != catalog.DrillDiffers || !d.LastProven.IsZero() {
		t.Errorf("never proven: %+v", d)
	}
	must(t, c.ExpectDrills(ctx, first, []string{"app", "more"}))
	must(t, c.Drilled(ctx, catalog.Drill{Set: second, Dump: "app", Outcome: catalog.DrillPartial}, "an extension is missing"))
	if drills, err = c.Drills(ctx); err != nil || len(drills) != 4 || drills[0].Outcome != catalog.DrillDiffers || drills[1].Dump != "more" || drills[1].Outcome != catalog.DrillNone || !drills[1].At.IsZero() ||
		drills[2].Outcome != catalog.DrillPartial || drills[2].LastProven.IsZero() {
		t.Errorf("with one that was never drilled, and one that was in part: %+v %v", drills, err)
	}
	if err := c.Drilled(ctx, catalog.Drill{Set: "2001-01_000001", Dump: "app"}, ""); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a set that is not there: %v", err)
	}
	var log strings.Builder
	for line, err := range c.AuditLog(ctx) {
		must(t, err)
		log.WriteString(line.Action + " " + line.Object + " " + line.Detail + "\n")
	}
	for _, want := range []string{"drill " + string(first) + " app: differs: a row is missing", "drill " + string(second) + " app: proven: 7 tables"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no line %q in\n%s", want, log.String())
		}
	}
	letGo(t, c, second)
	must(t, c.DeleteSet(ctx, second)) // whose row stays
	if drills, err := c.Drills(ctx); err != nil || len(drills) != 2 {
		t.Errorf("drills of a set that is gone: %+v %v", drills, err)
	}
}

func testPins(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	first, second := held(t, c), held(t, c)
	must(t, c.Pin(ctx, second, "ann", ""))
	must(t, c.Pin(ctx, first, "ann", "why"))
	must(t, c.Pin(ctx, first, "bob", "better"))
	pins, err := c.Pins(ctx)
	if err != nil || len(pins) != 2 || pins[0].Set != first || pins[0].Who != "bob" || pins[0].Why != "better" || pins[0].At.IsZero() || pins[1].Set != second {
		t.Errorf("pins %+v %v", pins, err)
	}
	if was, err := c.Unpin(ctx, first, "ann"); err != nil || !was {
		t.Errorf("unpin: %t %v", was, err)
	}
	if was, err := c.Unpin(ctx, first, "ann"); err != nil || was {
		t.Errorf("unpin again: %t %v", was, err)
	}
	letGo(t, c, first)
	for _, id := range []capstan.SetID{first, "2001-01_000001"} {
		if err := c.Pin(ctx, id, "ann", ""); !errors.Is(err, capstan.ErrNotFound) {
			t.Errorf("pin %s: %v", id, err)
		}
	}
	letGo(t, c, second) // as the test says; a policy would not
	must(t, c.DeleteSet(ctx, second))
	if pins, err := c.Pins(ctx); err != nil || len(pins) != 0 {
		t.Errorf("pins of a set that is gone: %+v %v", pins, err)
	}
	var lines []string
	for line, err := range c.AuditLog(ctx) {
		must(t, err)
		lines = append(lines, line.Action+" "+line.Object+" "+line.Detail)
	}
	log := strings.Join(lines, "\n")
	for _, line := range []string{
		"pin " + string(first) + " by ann: why", "unpin " + string(first) + " by ann",
		"forget " + string(first) + " it was asked for (the test)",
	} {
		if strings.Count(log, line) != 1 {
			t.Errorf("not once in the audit log: %q\n%s", line, log)
		}
	}
}

func testForgotten(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	first, second := held(t, c), held(t, c)
	must(t, c.EnsureVolume(ctx, capstan.VolumeInfo{ID: "second", Kind: "dir", Location: "/second"}))
	must(t, c.SetCopy(ctx, first, 1, "second", capstan.CopyWritten, "", noon)) // nobody demanded it
	letGo(t, c, first)
	left := func() []catalog.ForgottenSet {
		t.Helper()
		sets, err := c.Forgotten(ctx, job)
		must(t, err)
		return sets
	}
	sets := left()
	if len(sets) != 1 || sets[0].ID != first || !sets[0].Listed || sets[0].Claim == "" || sets[0].At.IsZero() ||
		!slices.Equal(sets[0].Volumes, []capstan.VolumeID{"second", volume}) && !slices.Equal(sets[0].Volumes, []capstan.VolumeID{volume, "second"}) {
		t.Errorf("forgotten %+v", sets)
	}
	if sets, err := c.Forgotten(ctx, "other"); err != nil || len(sets) != 0 {
		t.Errorf("of another job: %+v %v", sets, err)
	}
	if err := c.Erased(ctx, second, volume, ""); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("a set that was not forgotten lost a volume: %v", err)
	}
	for range 2 {
		must(t, c.Erased(ctx, first, volume, "/mnt"))
		must(t, c.DeleteSet(ctx, first))
	}
	requireSound(t, c)
	if sets := left(); len(sets) != 1 || sets[0].Listed || !slices.Equal(sets[0].Volumes, []capstan.VolumeID{"second"}) {
		t.Errorf("with a volume that did not answer: %+v", sets)
	}
	_, err := c.Set(ctx, first)
	if !errors.Is(err, capstan.ErrNotFound) || !strings.Contains(err.Error(), "it was forgotten at 20") {
		t.Errorf("a forgotten set: %v", err)
	}
	if err := c.SetStatus(ctx, first, capstan.RunRunning, capstan.Counts{}); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("the status of a forgotten set: %v", err)
	}
	must(t, c.Erased(ctx, first, "second", "/second"))
	if sets := left(); len(sets) != 0 {
		t.Errorf("left %+v", sets)
	}
	if at, was, err := c.WasForgotten(ctx, first); err != nil || !was || at.IsZero() {
		t.Errorf("was forgotten: %s %t %v", at, was, err)
	}
	if _, was, err := c.WasForgotten(ctx, second); err != nil || was {
		t.Errorf("the other set was forgotten: %t %v", was, err)
	}
	// What a later set's signature covers is known still, and nothing else was lost.
	if set, _, err := c.LastSums(ctx, volume, second); err != nil || set != first {
		t.Errorf("the sums before: %s %v", set, err)
	}
	requirePaths(t, walk(t, c, second, ""), "a", "a/b", "a/c")
	if third := begin(t, c); third.ID.Number() != 3 {
		t.Errorf("a number was given twice: %s", third.ID)
	}
}

func testImportForgotten(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	begin(t, c)
	set, archives := foreign()
	set.Job = job
	entries := []capstan.Entry{file("x", 1), file("y", 2)}
	imported := func(want bool) {
		t.Helper()
		if got, err := c.Import(ctx, set, archives, volume, each(entries)); err != nil || got != want {
			t.Fatalf("imported: %t %v, want %t", got, err, want)
		}
	}
	imported(true)
	letGo(t, c, set.ID)
	imported(false)
	must(t, c.DeleteSet(ctx, set.ID))
	imported(false) // its volume is still to lose it
	if _, err := c.Set(ctx, set.ID); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("it came back: %v", err)
	}
	must(t, c.Erased(ctx, set.ID, volume, "/mnt"))
	imported(true) // somebody has a copy of that volume
	requirePaths(t, walk(t, c, set.ID, ""), "x", "y")
	if _, was, err := c.WasForgotten(ctx, set.ID); err != nil || was {
		t.Errorf("forgotten still: %t %v", was, err)
	}
}
