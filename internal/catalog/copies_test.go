package catalog_test

import (
	"errors"
	"path/filepath"
	"testing"

	"capstan"
	"capstan/internal/catalog"
)

// TestCommitCopy records copies while entries of the set are written, while the
// writer ends, and after; one that fails leaves the writer as it is.
func TestCommitCopy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, err := catalog.Open(ctx, filepath.Join(t.TempDir(), "catalog.db"), catalog.Options{})
	must(t, err)
	defer c.Close()
	set := begin(t, c)
	a := plan(t, c, set.ID)
	if err := c.CommitCopy(ctx, a, volume); err == nil {
		t.Error("a copy of an archive that is not committed is recorded")
	}
	a.Size, a.TarSize, a.Entries, a.Hash = 1000, 2000, 1, capstan.Hash{1}
	must(t, c.CommitArchive(ctx, a, capstan.CopyQueued, []capstan.VolumeID{volume}))
	other := a
	other.Hash = capstan.Hash{2}
	if err := c.CommitCopy(ctx, other, volume); err == nil {
		t.Error("a copy with another content is recorded")
	}
	w := c.NewEntryWriter(ctx, set.ID)
	must(t, w.Add(ctx, []capstan.Entry{file("a", 1)}))
	if err := c.CommitCopy(ctx, a, volume, catalog.Fence{Resource: "volume:x", Epoch: 1}); !errors.Is(err, capstan.ErrLeaseLost) {
		t.Errorf("a copy without its lease: %v", err)
	}
	must(t, w.Add(ctx, []capstan.Entry{file("b", 1)}))
	done := make(chan error)
	go func() {
		var errs error
		for range 50 {
			errs = errors.Join(errs, c.CommitCopy(ctx, a, volume))
		}
		done <- errs
	}()
	must(t, w.Close())
	must(t, <-done)
	copies, err := c.Copies(ctx, set.ID)
	must(t, err)
	if len(copies) != 1 || copies[0].State != capstan.CopyWritten {
		t.Errorf("copies %+v", copies)
	}
	requirePaths(t, walk(t, c, set.ID, ""), "a", "b")
}

// TestPlain: a writer says of the entries that it was given that they are the
// set's only where that is so.
func TestPlain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, err := catalog.Open(ctx, filepath.Join(t.TempDir(), "catalog.db"), catalog.Options{})
	must(t, err)
	defer c.Close()
	set := begin(t, c)
	a := plan(t, c, set.ID)
	for i, round := range []struct {
		paths []string
		plain bool
	}{
		{[]string{"a", "b/c", "d"}, true},
		{[]string{"e"}, false}, // the set has others
	} {
		w := c.NewEntryWriter(ctx, set.ID)
		for _, path := range round.paths {
			must(t, w.Add(ctx, []capstan.Entry{file(path, a.Number)}))
		}
		must(t, w.Close())
		if w.Plain() != round.plain {
			t.Errorf("round %d: plain is %v", i, w.Plain())
		}
	}
	other := begin(t, c)
	b := plan(t, c, other.ID)
	w := c.NewEntryWriter(ctx, other.ID)
	must(t, w.Add(ctx, []capstan.Entry{file("a", b.Number), file("e", b.Number)}))
	must(t, w.Flush(ctx))
	must(t, w.Add(ctx, []capstan.Entry{file("a", b.Number)}))
	must(t, w.Close())
	if w.Plain() {
		t.Error("a path came twice, and the writer says that none did")
	}
}
