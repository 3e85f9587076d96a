package catalog_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

const second capstan.VolumeID = "0b2d7a3e-0000-4000-8000-000000000002"

var both = []capstan.VolumeID{volume, second}

// stageSet makes a set of n archives in the stage, queued for both volumes.
func stageSet(t *testing.T, c *catalog.Catalog, n int) capstan.Set {
	t.Helper()
	must(t, c.EnsureVolume(t.Context(), capstan.VolumeInfo{ID: second, Kind: "dir", Location: "/mnt/second", Created: noon}))
	set := begin(t, c)
	must(t, c.Demand(t.Context(), set.ID, both...))
	for range n {
		stageArchive(t, c, set.ID, both...)
	}
	return set
}

// stageArchive seals the next archive of a set in the stage.
func stageArchive(t *testing.T, c *catalog.Catalog, set capstan.SetID, volumes ...capstan.VolumeID) capstan.Archive {
	t.Helper()
	a, err := c.PlanArchive(t.Context(), set, capstan.CodecZstd, volumes...)
	must(t, err)
	a.Size, a.TarSize, a.Entries, a.Hash = 1000+int64(a.Number), 2000, 3, capstan.Hash{byte(a.Number), 1}
	must(t, c.CommitArchive(t.Context(), a, capstan.CopyQueued, volumes))
	return a
}

func setCopy(t *testing.T, c *catalog.Catalog, set capstan.SetID, number capstan.ArchiveNumber, on capstan.VolumeID, state capstan.CopyState) {
	t.Helper()
	must(t, c.SetCopy(t.Context(), set, number, on, state, "", noon))
}

// requireNext asks the queue of a volume; number 0: nothing is there now.
func requireNext(t *testing.T, c *catalog.Catalog, set capstan.SetID, on capstan.VolumeID, now time.Time, number capstan.ArchiveNumber, attempts int) time.Time {
	t.Helper()
	next, found, due, err := c.NextCopy(t.Context(), set, on, now)
	must(t, err)
	if found != (number != 0) || next.Archive.Number != number || next.Attempts != attempts || found && !due.IsZero() {
		t.Fatalf("next is archive %d after %d attempts, %t, due %v; want %d after %d", next.Archive.Number, next.Attempts, found, due, number, attempts)
	}
	return due
}

func requireCopies(t *testing.T, c *catalog.Catalog, set capstan.SetID, on capstan.VolumeID, want ...capstan.CopyState) {
	t.Helper()
	copies, err := c.Copies(t.Context(), set)
	must(t, err)
	var got []capstan.CopyState
	for _, found := range copies {
		if found.Volume != on {
			continue
		}
		got = append(got, found.State)
		of, err := c.CopiesOf(t.Context(), set, found.Number)
		must(t, err)
		if !slices.Contains(of, found) {
			t.Errorf("copies of archive %d are %+v without %+v", found.Number, of, found)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("copies on %s are %v, want %v", on, got, want)
	}
}

// requireDemands gives the states on the first and on the second volume; empty for
// one that is not demanded.
func requireDemands(t *testing.T, c *catalog.Catalog, set capstan.SetID, want ...capstan.CopyState) {
	t.Helper()
	demands, err := c.Demands(t.Context(), set)
	must(t, err)
	got := make([]capstan.CopyState, len(want))
	for _, d := range demands {
		got[slices.Index(both, d.Volume)] = d.State
	}
	if !slices.Equal(got, want) {
		t.Fatalf("demands are %v, want %v", got, want)
	}
}

func testQueue(t *testing.T, open opener) {
	c := open(t)
	set := begin(t, c)
	must(t, c.EnsureVolume(t.Context(), capstan.VolumeInfo{ID: second, Kind: "dir", Location: "/mnt/second", Created: noon}))
	if due := requireNext(t, c, set.ID, volume, noon, 0, 0); !due.IsZero() {
		t.Errorf("an empty queue is due at %v", due)
	}
	planned, err := c.PlanArchive(t.Context(), set.ID, capstan.CodecZstd, both...)
	must(t, err)
	requireNext(t, c, set.ID, volume, noon, 0, 0) // it is being packed
	setCopy(t, c, set.ID, 1, volume, capstan.CopyQueued)
	requireNext(t, c, set.ID, volume, noon, 0, 0) // whatever is said: its bytes are not durable
	planned.Size, planned.TarSize, planned.Entries, planned.Hash = 7, 8, 9, capstan.Hash{1}
	want := planned
	must(t, c.CommitArchive(t.Context(), planned, capstan.CopyQueued, both))
	for range 3 {
		stageArchive(t, c, set.ID, both...)
	}
	next, found, _, err := c.NextCopy(t.Context(), set.ID, volume, noon)
	if err != nil || !found || next.Archive != want {
		t.Errorf("next is %+v, %t, %v; want %+v", next, found, err, want)
	}
	// A copy that is being written belongs to the one owner; found again, its process has died.
	setCopy(t, c, set.ID, 1, volume, capstan.CopyWriting)
	requireNext(t, c, set.ID, volume, noon, 1, 0)
	setCopy(t, c, set.ID, 1, volume, capstan.CopyWritten)
	requireNext(t, c, set.ID, volume, noon, 2, 0)
	requireNext(t, c, set.ID, second, noon, 1, 0) // each volume has its own queue
	setCopy(t, c, set.ID, 2, volume, capstan.CopySealed)
	setCopy(t, c, set.ID, 3, volume, capstan.CopyWriting)
	requireNext(t, c, set.ID, volume, noon, 2, 0) // the state does not decide, the number does
	for on, want := range map[capstan.VolumeID]int{volume: 3, second: 4} {
		if n, err := c.QueueLength(t.Context(), set.ID, on); err != nil || n != want {
			t.Errorf("the queue of %s has %d, %v; want %d", on, n, err, want)
		}
	}
	other := stageSet(t, c, 1)
	requireNext(t, c, other.ID, volume, noon, 1, 0)
	_, _, _, err = c.NextCopy(t.Context(), "2026-11_000999", volume, noon)
	if !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("the queue of no set: %v", err)
	}
}

func testQueueRetries(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := stageSet(t, c, 3)
	soon, later := noon.Add(time.Minute), noon.Add(time.Hour)
	must(t, c.FailCopy(ctx, set.ID, 1, volume, "the disk is full", later))
	must(t, c.FailCopy(ctx, set.ID, 2, volume, "the disk is full", soon))
	requireNext(t, c, set.ID, volume, noon, 3, 0) // others go on
	setCopy(t, c, set.ID, 3, volume, capstan.CopyWritten)
	if due := requireNext(t, c, set.ID, volume, noon, 0, 0); !due.Equal(soon) {
		t.Errorf("due at %v, want %v", due, soon)
	}
	if due := requireNext(t, c, set.ID, volume, soon.Add(-1), 0, 0); !due.Equal(soon) {
		t.Errorf("due at %v, want %v", due, soon)
	}
	requireNext(t, c, set.ID, volume, soon, 2, 1)
	requireNext(t, c, set.ID, volume, later, 1, 1) // both are due: the first archive
	if n, err := c.QueueLength(ctx, set.ID, volume); err != nil || n != 0 {
		t.Errorf("%d wait besides retries, %v", n, err)
	}
	// The attempts outlive the next try, and a process that died in it.
	setCopy(t, c, set.ID, 1, volume, capstan.CopyWriting)
	requireNext(t, c, set.ID, volume, noon, 1, 1)
	must(t, c.FailCopy(ctx, set.ID, 1, volume, "and again", time.Time{}))
	requireNext(t, c, set.ID, volume, later, 2, 1) // the first one waits for a person
	copies, err := c.CopiesOf(ctx, set.ID, 1)
	if err != nil || len(copies) != 2 || copies[0].Attempts != 2 || copies[0].Problem != "and again" || !copies[0].Retry.IsZero() {
		t.Errorf("copies %+v %v", copies, err)
	}
	if err := c.FailCopy(ctx, set.ID, 9, volume, "x", later); err == nil {
		t.Error("a copy that is not there failed, and nobody was told")
	}
	requireNext(t, c, set.ID, second, noon, 1, 0) // nothing of it is the other volume's
	// What is good at last keeps no memory of its failures in the queue.
	setCopy(t, c, set.ID, 1, volume, capstan.CopyWritten)
	setCopy(t, c, set.ID, 2, volume, capstan.CopyVerified)
	if due := requireNext(t, c, set.ID, volume, later, 0, 0); !due.IsZero() {
		t.Errorf("due at %v", due)
	}
}

func testQueueGivenUp(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := stageSet(t, c, 4)
	setCopy(t, c, set.ID, 1, volume, capstan.CopyWritten)
	setCopy(t, c, set.ID, 2, volume, capstan.CopyWriting)
	must(t, c.FailCopy(ctx, set.ID, 3, volume, "its own problem", noon.Add(time.Hour)))
	must(t, c.FailCopy(ctx, set.ID, 4, volume, "its own problem", time.Time{}))
	for range 2 {
		must(t, c.FailWaiting(ctx, set.ID, volume, "nobody answers"))
		if due := requireNext(t, c, set.ID, volume, noon.Add(24*time.Hour), 0, 0); !due.IsZero() {
			t.Errorf("due at %v", due)
		}
		requireCopies(t, c, set.ID, volume, capstan.CopyWritten, capstan.CopyFailed, capstan.CopyFailed, capstan.CopyFailed)
		requireDemands(t, c, set.ID, capstan.CopyFailed, capstan.CopyQueued)
	}
	copies, err := c.Copies(ctx, set.ID)
	must(t, err)
	for _, found := range copies {
		want := map[capstan.ArchiveNumber]string{2: "nobody answers", 3: "nobody answers", 4: "its own problem"}[found.Number]
		if found.Volume == volume && (found.Problem != want || !found.Retry.IsZero()) {
			t.Errorf("%+v, want problem %q", found, want)
		}
	}
	requireNext(t, c, set.ID, second, noon, 1, 0)
	// What is packed afterwards is queued all the same, and given up with the next word.
	stageArchive(t, c, set.ID, both...)
	requireNext(t, c, set.ID, volume, noon, 5, 0)
	must(t, c.FailWaiting(ctx, set.ID, volume, "nobody answers"))
	requireNext(t, c, set.ID, volume, noon, 0, 0)
	if err := c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}); err == nil {
		t.Error("a set is complete that a volume lacks")
	}
	must(t, c.SetStatus(ctx, set.ID, capstan.RunPartial, capstan.Counts{}))
}

// testStaleFence loses a lease and tries everything that it guards.
func testStaleFence(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	set := stageSet(t, c, 1)
	lease, err := c.Acquire(ctx, "volume:"+string(volume), "the test", time.Hour)
	must(t, err)
	stale := lease.Fence()
	must(t, c.SetCopy(ctx, set.ID, 1, volume, capstan.CopyWriting, "", noon, stale))
	must(t, lease.Release(ctx))
	lease, err = c.Acquire(ctx, "volume:"+string(volume), "the next", time.Hour)
	must(t, err)
	defer func() { must(t, lease.Release(ctx)) }()
	archive, err := c.Archive(ctx, set.ID, 1)
	must(t, err)
	before, err := c.Copies(ctx, set.ID)
	must(t, err)
	for name, err := range map[string]error{
		"set":    c.SetCopy(ctx, set.ID, 1, volume, capstan.CopyWritten, "", noon.Add(time.Hour), stale),
		"fail":   c.FailCopy(ctx, set.ID, 1, volume, "late", noon, stale),
		"commit": c.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{volume}, stale),
		"status": c.SetStatus(ctx, set.ID, capstan.RunPartial, capstan.Counts{Entries: 1}, stale),
		"both":   c.FailCopy(ctx, set.ID, 1, volume, "late", noon, lease.Fence(), stale),
	} {
		if !errors.Is(err, capstan.ErrLeaseLost) {
			t.Errorf("%s by an owner that lost the volume: %v", name, err)
		}
	}
	after, err := c.Copies(ctx, set.ID)
	must(t, err)
	if !slices.Equal(before, after) {
		t.Errorf("copies changed from %+v to %+v", before, after)
	}
	if found, err := c.Set(ctx, set.ID); err != nil || found.Status != capstan.RunRunning {
		t.Errorf("%+v %v", found, err)
	}
	must(t, c.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{volume}, lease.Fence()))
	requireCopies(t, c, set.ID, volume, capstan.CopyWritten)
}

func testStages(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	if id, wanted, err := c.StageAt(ctx, "/stage"); err != nil || id != "" || wanted {
		t.Errorf("%q %t %v", id, wanted, err)
	}
	odd := "/st\xffge\n"
	for _, id := range []string{"one", "one", "two"} {
		must(t, c.EnsureStage(ctx, "/stage", id))
		must(t, c.EnsureStage(ctx, odd, id+"-odd"))
	}
	for location, want := range map[string]string{"/stage": "two", odd: "two-odd"} {
		if id, _, err := c.StageAt(ctx, location); err != nil || id != want {
			t.Errorf("stage at %q is %q, %v", location, id, err)
		}
	}
	if all, err := c.Stages(ctx); err != nil || !slices.Equal(all, []string{odd, "/stage"}) && !slices.Equal(all, []string{"/stage", odd}) {
		t.Errorf("stages %q %v", all, err)
	}
}
