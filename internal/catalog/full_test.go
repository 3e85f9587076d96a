package catalog

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan"
)

// limited opens a catalog that may not grow, as on a full disk: SQLite answers
// SQLITE_FULL to both.
func limited(t *testing.T) (*Catalog, func(pages int)) {
	t.Helper()
	c, err := Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, func(pages int) {
		err := c.write(t.Context(), "limit", func(tx *tx) error {
			return each(tx.ctx, tx, fmt.Sprintf("PRAGMA max_page_count = %d", pages), nil, func(*sql.Rows) error { return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, limit := limited(t)
	if err := c.EnsureJob(ctx, "job", "", nil, nil); err != nil {
		t.Fatal(err)
	}
	set, err := c.BeginSet(ctx, "job", "host", capstan.CodecNone, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	archive, err := c.PlanArchive(ctx, set.ID, capstan.CodecNone)
	if err != nil {
		t.Fatal(err)
	}
	entries := make([]capstan.Entry, 5000)
	for i := range entries {
		entries[i] = capstan.Entry{Path: fmt.Sprintf("d/file-%d", i), Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Location: capstan.Location{Archive: archive.Number}}
	}
	limit(60)
	w := c.NewEntryWriter(ctx, set.ID)
	if err := w.Add(ctx, entries); err != nil {
		t.Fatal(err)
	}
	archive.Entries = int64(len(entries))
	err = c.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{""})
	if !errors.Is(err, capstan.ErrNoSpace) || !strings.Contains(err.Error(), c.Path()) {
		t.Errorf("commit on a full disk: %v", err)
	}
	if err := w.Add(ctx, entries); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("the failure is not sticky: %v", err)
	}
	if err := w.Close(); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("close after it: %v", err)
	}
	if n, err := c.CountOutcomes(ctx, set.ID); err != nil || n.Entries != 0 {
		t.Errorf("half committed: %+v %v", n, err)
	}
	if archives, err := c.Archives(ctx, set.ID); err != nil || len(archives) != 0 {
		t.Errorf("committed nonetheless: %+v %v", archives, err)
	}
	limit(1 << 30) // somebody made room
	w = c.NewEntryWriter(ctx, set.ID)
	if err := errors.Join(w.Add(ctx, entries), w.Close()); err != nil {
		t.Errorf("after room was made: %v", err)
	}
	if problems, err := c.Check(ctx); err != nil || len(problems) > 0 {
		t.Errorf("check: %q %v", problems, err)
	}
}

// TestFullDiskGivesNoNumber: a run that could not be recorded has no number by which
// anything else could be recorded of it.
func TestFullDiskGivesNoNumber(t *testing.T) {
	t.Parallel()
	c, limit := limited(t)
	if err := c.EnsureJob(t.Context(), "job", "", nil, nil); err != nil {
		t.Fatal(err)
	}
	limit(1) // as many as there are
	for n := range 100000 {
		id, err := c.BeginRun(t.Context(), "", capstan.JobKey(strings.Repeat("job", 300)), "backup", time.Now())
		if err == nil {
			continue
		}
		if id != 0 || !errors.Is(err, capstan.ErrNoSpace) {
			t.Errorf("run %d after %d others: %v", id, n, err)
		}
		return
	}
	t.Error("the catalog is never full")
}
