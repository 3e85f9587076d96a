package catalog

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"capstan"
)

// TestInterruptedRemovals ends DiscardUnsealed and DeleteSet after ever longer
// times, in the midst of their many transactions, until they come through.
func TestInterruptedRemovals(t *testing.T) {
	t.Parallel()
	c, _ := limited(t)
	c.removeRows = 7
	ctx := t.Context()
	sound := func() {
		if problems, err := c.Check(ctx); err != nil || len(problems) > 0 {
			t.Fatalf("check: %q %v", problems, err)
		}
	}
	until := func(what string, try func(context.Context) error) {
		interrupted := 0
		for patience := time.Millisecond; ; patience += patience / 4 {
			limited, cancel := context.WithTimeout(ctx, patience)
			err := try(limited)
			cancel()
			sound()
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%s: %v", what, err)
			}
			interrupted++
		}
		if interrupted == 0 {
			t.Errorf("%s was never interrupted", what)
		}
	}
	set, kept := removable(t, c), removable(t, c)
	until("discard", func(ctx context.Context) error { _, _, err := c.DiscardUnsealed(ctx, set); return err })
	if n, err := c.CountOutcomes(ctx, set); err != nil || n.Entries != 300 {
		t.Errorf("left after the discard: %+v %v, want 300", n, err)
	}
	begun := false
	until("delete", func(ctx context.Context) error {
		if begun {
			return c.Sweep(ctx)
		}
		err := c.DeleteSet(ctx, set)
		_, findErr := c.findSet(context.WithoutCancel(ctx), set)
		begun = isNotFound(findErr)
		return err
	})
	var rows int64
	if _, err := one(ctx, c.reads, "SELECT (SELECT count(*) FROM entries) + (SELECT count(*) FROM dirs)", nil, &rows); err != nil {
		t.Fatal(err)
	}
	// The files of both kinds, their directories' own rows, and dirs with its root.
	if n, err := c.CountOutcomes(ctx, kept); err != nil || n.Stored != 300 || rows != 1200+60+61 {
		t.Errorf("the other set: %+v %v; %d rows in all", n, err, rows)
	}
}

// removable makes a set with 300 files in a committed archive and 300 in one that
// is not, with as many excluded ones.
func removable(t *testing.T, c *Catalog) capstan.SetID {
	t.Helper()
	ctx := t.Context()
	if err := c.EnsureVolume(ctx, capstan.VolumeInfo{ID: "v", Kind: "dir", Location: "/mnt"}); err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureJob(ctx, "job", "", nil, nil); err != nil {
		t.Fatal(err)
	}
	set, err := c.BeginSet(ctx, "job", "host", capstan.CodecNone, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := c.NewEntryWriter(ctx, set.ID)
	var archives []capstan.Archive
	for range 2 {
		archive, err := c.PlanArchive(ctx, set.ID, capstan.CodecNone, "v")
		if err != nil {
			t.Fatal(err)
		}
		var entries []capstan.Entry
		for i := range 300 {
			path := fmt.Sprintf("top%d/sub%d/file%03d", i%20, archive.Number, i)
			entries = append(entries,
				capstan.Entry{Path: path, Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Links: 1, Location: capstan.Location{Archive: archive.Number}},
				capstan.Entry{Path: path + ".tmp", Kind: capstan.KindFile, Outcome: capstan.OutcomeExcluded})
		}
		if err := w.Add(ctx, entries); err != nil {
			t.Fatal(err)
		}
		archive.Entries = 300
		archives = append(archives, archive)
	}
	if err := c.CommitArchive(ctx, archives[0], capstan.CopyWritten, []capstan.VolumeID{"v"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return set.ID
}
