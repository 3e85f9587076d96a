package catalog

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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
