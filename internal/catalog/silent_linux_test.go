package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	sys "golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/capstantest/slowfs"
)

// silentCatalog is a catalog on a filesystem that answers as the test says.
func silentCatalog(t *testing.T) (*Catalog, *slowfs.Mount) {
	t.Helper()
	dir := t.TempDir()
	m := slowfs.Start(t, filepath.Join(dir, "below"), filepath.Join(dir, "home"))
	c, err := Open(t.Context(), filepath.Join(m.Dir, "catalog.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.attendance.after = 100 * time.Millisecond
	if err := c.EnsureJob(t.Context(), "first", "", []string{"/srv"}, []string{"/mnt"}); err != nil {
		t.Fatal(err)
	}
	return c, m
}

// cancelled gives a context that somebody interrupts as soon as an operation is held.
func cancelled(t *testing.T, hold *slowfs.Active) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		select {
		case <-hold.Hits():
			cancel(&capstan.Error{Class: capstan.ErrInterrupted, Op: "interrupted"})
		case <-t.Context().Done():
		}
	}()
	return ctx
}

// TestWriteThatHangs has the log of the catalog take nothing any more: the write is
// left behind once it is cancelled, nothing else is written, and the catalog can be
// closed. The next one that is opened has all of the last transaction, or none.
func TestWriteThatHangs(t *testing.T) {
	t.Parallel()
	c, m := silentCatalog(t)
	hold := m.Add(slowfs.Rule{Ops: []slowfs.Op{slowfs.Write, slowfs.Sync}, Name: "catalog.db-wal", Hold: true})
	ctx := cancelled(t, hold)
	if err := c.EnsureJob(ctx, "second", "", []string{"/srv"}, []string{"/mnt"}); !errors.Is(err, errSilent) || !errors.Is(err, capstan.ErrInterrupted) {
		t.Errorf("the write that hangs: %v", err)
	}
	if err := c.EnsureJob(t.Context(), "third", "", []string{"/srv"}, []string{"/mnt"}); !errors.Is(err, errSilent) {
		t.Errorf("the next write: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed with a write that hangs: %v", err)
	}
	hold.End()
	for end := time.Now().Add(time.Minute); c.left.Load() > 0; {
		if time.Now().After(end) {
			t.Fatal("the write does not come back")
		}
		pause(t)
	}
	if err := c.EnsureJob(t.Context(), "third", "", []string{"/srv"}, []string{"/mnt"}); !errors.Is(err, errSilent) {
		t.Errorf("a write when the disk answers again: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	again, err := Open(t.Context(), c.Path(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := again.Jobs(t.Context())
	if err != nil || len(jobs) < 1 || len(jobs) > 2 || jobs[0].Key != "first" || len(jobs) == 2 && jobs[1].Key != "second" {
		t.Errorf("%+v, %v", jobs, err)
	}
	if problems, err := again.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("%q, %v", problems, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// pause waits a moment.
func pause(t *testing.T) {
	t.Helper()
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// TestReadThatHangs has no page of the catalog come from its disk any more: the read is
// left behind once it is cancelled, and the catalog can be closed.
func TestReadThatHangs(t *testing.T) {
	t.Parallel()
	c, m := silentCatalog(t)
	for _, name := range []string{"catalog.db", "catalog.db-wal"} {
		// The kernel forgets what it has read of a file when it is opened. It stays open,
		// since closing it would take away SQLite's locks.
		file, err := os.Open(filepath.Join(m.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := sys.Fadvise(int(file.Fd()), 0, 0, sys.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
	}
	hold := m.Add(slowfs.Rule{Op: slowfs.Read, Name: "catalog.d*[bl]", Hold: true})
	if jobs, err := c.Jobs(cancelled(t, hold)); !errors.Is(err, errSilent) || !errors.Is(err, capstan.ErrInterrupted) || len(jobs) > 0 {
		t.Errorf("the read that hangs: %v, %v", jobs, err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed with a read that hangs: %v", err)
	}
	hold.End()
	for end := time.Now().Add(time.Minute); c.left.Load() > 0; {
		if time.Now().After(end) {
			t.Fatal("the read does not come back")
		}
		pause(t)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
