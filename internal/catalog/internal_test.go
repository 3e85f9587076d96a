package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"capstan"
)

// withSteps gives the embedded migrations and others after them.
func withSteps(t *testing.T, more ...string) migrations {
	t.Helper()
	real := sqliteMigrations()
	all := fstest.MapFS{}
	names, err := fs.Glob(real.steps, "*.sql")
	if err != nil || int64(len(names)) != real.last {
		t.Fatalf("%d steps are embedded, the schema is %d: %v", len(names), real.last, err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(real.steps, name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = &fstest.MapFile{Data: data}
	}
	for i, text := range more {
		all[fmt.Sprintf("%05d_more.sql", int(real.last)+1+i)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return migrations{steps: all, last: real.last + int64(len(more))}
}

func TestMigration(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureJob(ctx, "job", "kept", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(ctx, path, Options{ReadOnly: true}, withSteps(t, "CREATE TABLE new (a INTEGER);")); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("an older schema opened for reading only: %v", err)
	}
	// A step that fails in its middle leaves the step before it, whole.
	_, err = open(ctx, path, Options{}, withSteps(t, "CREATE TABLE new (a INTEGER);", "CREATE TABLE newer (a INTEGER); INSERT INTO nowhere VALUES (1);"))
	if err == nil {
		t.Fatal("a step that fails is no error")
	}
	c, err = open(ctx, path, Options{}, withSteps(t, "CREATE TABLE new (a INTEGER);", "CREATE TABLE newer (a INTEGER);"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test
	if jobs, err := c.Jobs(ctx); err != nil || len(jobs) != 1 || jobs[0].Name != "kept" {
		t.Errorf("jobs after the migration %+v %v", jobs, err)
	}
	for _, version := range []int{1, 2} {
		copied := fmt.Sprintf("%s.schema-%d", path, version)
		info, err := os.Stat(copied)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("copy of schema %d: %v %v", version, info, err)
		}
	}
	// The copy of the first schema is a catalog of the first schema.
	old, err := Open(ctx, path+".schema-1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close() //nolint:errcheck // a test
	if jobs, err := old.Jobs(ctx); err != nil || len(jobs) != 1 {
		t.Errorf("jobs of the copy %+v %v", jobs, err)
	}
}

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
	err = c.CommitArchive(ctx, archive, "", capstan.CopyWritten)
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

func TestFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	c, _ := limited(t)
	err := c.write(t.Context(), "forbid", func(tx *tx) error {
		return each(tx.ctx, tx, "PRAGMA query_only = 1", nil, func(*sql.Rows) error { return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Audit(t.Context(), "a", "b", "c"); !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), "writable") {
		t.Errorf("writing to what cannot be written: %v", err)
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	first, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan string, 10)
	ended := make(chan bool, 10)
	second, err := Open(t.Context(), path, Options{Patience: 120 * time.Millisecond, Wait: func(on string) func() {
		waiting <- on
		return func() { ended <- true }
	}})
	if err != nil {
		t.Fatal(err)
	}
	err = first.write(t.Context(), "hold", func(*tx) error {
		if err := second.Audit(t.Context(), "a", "b", "c"); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("a catalog that is held: %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		go func() {
			<-waiting // that of the first try
			<-waiting
			cancel(stop)
		}()
		second.patience = time.Hour
		if err := second.Audit(ctx, "a", "b", "c"); !errors.Is(err, stop) {
			t.Errorf("a wait that was cancelled: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ended) != 2 {
		t.Errorf("%d waits were declared over, want 2", len(ended))
	}
	if err := errors.Join(second.Audit(t.Context(), "a", "b", "c"), second.Close(), first.Close(), second.Close()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestRollback lets transactions fail in every way and then writes.
func TestRollback(t *testing.T) {
	t.Parallel()
	c, _ := limited(t)
	ctx := t.Context()
	broken := errors.New("broken")
	insert := func(tx *tx) error {
		_, err := tx.exec(sqlFirstNumber, "2026-01")
		return err
	}
	if err := c.write(ctx, "fail", func(tx *tx) error { return errors.Join(insert(tx), broken) }); !errors.Is(err, broken) {
		t.Errorf("a failing transaction: %v", err)
	}
	cancelled, cancel := context.WithCancelCause(ctx)
	if err := c.write(cancelled, "cancel", func(tx *tx) error { err := insert(tx); cancel(broken); return err }); !errors.Is(err, broken) {
		t.Errorf("a cancelled transaction: %v", err)
	}
	if err := c.write(ctx, "end inside", func(tx *tx) error {
		_, err := tx.exec("ROLLBACK")
		return errors.Join(err, broken)
	}); !errors.Is(err, broken) {
		t.Errorf("a transaction that SQLite ended: %v", err)
	}
	found, err := one(ctx, c.reads, sqlLastNumber, with("2026-01"), new(int64))
	if err != nil || found {
		t.Errorf("something was committed: %t %v", found, err)
	}
	if err := c.write(ctx, "write", insert); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	c, err := Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := c.NewEntryWriter(t.Context(), "2026-11_000001")
	if c.Close() == nil {
		t.Error("an open entry writer was not said")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if c.Audit(t.Context(), "a", "b", "c") == nil {
		t.Error("a closed catalog is written")
	}
	if _, err := c.Jobs(t.Context()); err == nil {
		t.Error("a closed catalog is read")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
