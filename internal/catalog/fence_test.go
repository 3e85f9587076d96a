package catalog

import (
	"errors"
	"testing"
	"time"

	"capstan"
)

// What a stale owner records is refused whole, also what it had added before.
func TestFence(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSite(t)
	c, other := s.open(t, nil), s.open(t, nil)
	volume := capstan.VolumeInfo{ID: "0b2d7a3e-0000-4000-8000-000000000001", Kind: "dir", Location: "/mnt/disk"}
	if err := errors.Join(c.EnsureVolume(ctx, volume), c.EnsureJob(ctx, "job", "", nil, nil)); err != nil {
		t.Fatal(err)
	}
	set, err := c.BeginSet(ctx, "job", "host", capstan.CodecNone, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	archive, err := c.PlanArchive(ctx, set.ID, capstan.CodecNone, volume.ID)
	if err != nil {
		t.Fatal(err)
	}
	stale := acquire(t, c, time.Hour)
	s.boot.Add(int64(2 * time.Hour))
	l := acquire(t, other, time.Hour)
	archive.Entries = 1
	now := time.Now()
	acts := map[string]func(...Fence) error{
		"commit": func(f ...Fence) error {
			return c.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{volume.ID}, f...)
		},
		"copy": func(f ...Fence) error {
			return c.SetCopy(ctx, set.ID, archive.Number, volume.ID, capstan.CopyFailed, "x", now, f...)
		},
		"status": func(f ...Fence) error { return c.SetStatus(ctx, set.ID, capstan.RunFailed, capstan.Counts{}, f...) },
		"writer": func(f ...Fence) error {
			w := c.NewEntryWriter(ctx, set.ID)
			entry := capstan.Entry{Path: "f", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Location: capstan.Location{Archive: archive.Number}}
			err := w.Add(ctx, []capstan.Entry{entry})
			if err == nil {
				err = c.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{volume.ID}, f...)
			}
			if closeErr := w.Close(); err == nil {
				err = closeErr
			}
			return err
		},
	}
	nobody := Fence{"volume:unknown", 1}
	for name, act := range acts {
		for _, fences := range [][]Fence{{stale.Fence()}, {l.Fence(), stale.Fence()}, {nobody}, {{thing, 3}}} {
			if err := act(fences...); !errors.Is(err, capstan.ErrLeaseLost) {
				t.Errorf("%s with %v: %v", name, fences, err)
			}
		}
	}
	archives, err := c.Archives(ctx, set.ID)
	copies, copyErr := c.Copies(ctx, set.ID)
	if err = errors.Join(err, copyErr); err != nil || len(archives) != 0 || len(copies) != 1 || copies[0].State != capstan.CopyPacking {
		t.Errorf("%+v %+v %v", archives, copies, err)
	}
	if n, err := c.CountOutcomes(ctx, set.ID); err != nil || n.Entries != 0 {
		t.Errorf("%+v %v", n, err)
	}
	if sets, err := c.OpenSets(ctx, "job"); err != nil || len(sets) != 1 || sets[0].Status != capstan.RunRunning {
		t.Errorf("%+v %v", sets, err)
	}
	for _, name := range []string{"writer", "copy", "status"} {
		if err := acts[name](l.Fence()); err != nil {
			t.Errorf("%s by the owner: %v", name, err)
		}
	}
	if err := errors.Join(l.Release(ctx), stale.Release(ctx)); err != nil {
		t.Error(err)
	}
	if err := acts["copy"](l.Fence()); !errors.Is(err, capstan.ErrLeaseLost) {
		t.Errorf("a fence of a lease that was given back: %v", err)
	}
	if problems, err := c.Check(ctx); err != nil || len(problems) > 0 {
		t.Errorf("check: %q %v", problems, err)
	}
}
