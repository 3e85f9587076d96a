package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"capstan/internal/capstantest/slowfs"
)

// A child cannot begin while a file of its parent lies on a filesystem that does
// not answer. Who started it is free at its timeout and when the context ends; when
// the filesystem answers, others can be started. Not parallel: no child of any test
// can begin meanwhile.
func TestBeginBesideStoppedFilesystem(t *testing.T) {
	dir := t.TempDir()
	m := slowfs.Start(t, filepath.Join(dir, "below"), filepath.Join(dir, "mount"))
	file, err := os.Create(filepath.Join(m.Dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(dir, "mark")
	m.Stop()
	begin := time.Now()
	c := sh("echo > " + mark)
	c.Timeout = 100 * time.Millisecond
	if _, err := Run(t.Context(), c); !errors.Is(err, ErrNotBegun) || !errors.Is(err, ErrTimeout) {
		t.Errorf("at its timeout: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("the test's cause"))
	defer cancel()
	if _, err := Run(ctx, sh("echo > "+mark)); !errors.Is(err, ErrNotBegun) || !errors.Is(err, context.Cause(ctx)) {
		t.Errorf("at the end of the context: %v", err)
	}
	if d := time.Since(begin); d > time.Minute {
		t.Errorf("it took %s", d)
	}
	m.Continue()
	if _, err := Run(t.Context(), sh("true")); err != nil { // after the two that were left behind
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
