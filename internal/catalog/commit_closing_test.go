package catalog

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"capstan"
)

// Whoever brings archives to a volume commits its copies while the pack may be
// closing the set's writer: such a commit waits for the writer's last entries and
// then goes on by itself.
func TestCommitWhileTheWriterCloses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, err := Open(ctx, filepath.Join(t.TempDir(), "catalog.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.EnsureJob(ctx, "job", "", nil, nil))
	check(c.EnsureVolume(ctx, capstan.VolumeInfo{ID: "v", Kind: "dir", Location: "/v"}))
	set, err := c.BeginSet(ctx, "job", "host", capstan.CodecNone, nil, time.Now())
	check(err)
	volumes := []capstan.VolumeID{"v"}

	archive, err := c.PlanArchive(ctx, set.ID, capstan.CodecNone)
	check(err)
	w := c.NewEntryWriter(ctx, set.ID)
	check(w.Add(ctx, []capstan.Entry{{
		Path: "d", Kind: capstan.KindDir, Outcome: capstan.OutcomeStored, Location: capstan.Location{Archive: archive.Number},
	}}))
	check(c.CommitArchive(ctx, archive, capstan.CopyQueued, volumes))
	check(w.Add(ctx, []capstan.Entry{{Path: "x", Kind: capstan.KindFile, Outcome: capstan.OutcomeFailed, Reason: "gone"}}))
	check(w.Close())
	c.mu.Lock()
	c.writers[set.ID] = w // as a commit finds it that looked just before the close
	c.mu.Unlock()
	check(c.CommitArchive(ctx, archive, capstan.CopyWritten, volumes))
	c.mu.Lock()
	delete(c.writers, set.ID)
	c.mu.Unlock()

	for i := range 100 {
		w := c.NewEntryWriter(ctx, set.ID)
		check(w.Add(ctx, []capstan.Entry{{Path: fmt.Sprintf("d%d", i), Kind: capstan.KindFile, Outcome: capstan.OutcomeFailed, Reason: "gone"}}))
		committed := make(chan error, 1)
		go func() { committed <- c.CommitArchive(ctx, archive, capstan.CopyWritten, volumes) }()
		check(w.Close())
		check(<-committed)
	}
	copies, err := c.Copies(ctx, set.ID)
	check(err)
	if len(copies) != 1 || copies[0].State != capstan.CopyWritten {
		t.Errorf("copies %+v, want one that is written", copies)
	}
}
