package catalog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/catalog"
)

const lockedJob capstan.JobKey = "../strange: job/\xff*"

// playLock holds a lock until its input ends.
func playLock(ctx context.Context, path string) error {
	c, err := catalog.Open(ctx, path, catalog.Options{})
	if err != nil {
		return err
	}
	if _, err := c.LockJob(ctx, lockedJob); err != nil {
		return err
	}
	fmt.Println("locked")
	bufio.NewReader(os.Stdin).ReadByte() //nolint:errcheck // the end of the input is what is waited for
	return nil
}

func TestLockOfAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openAt(t, path, catalog.Options{})
	p := start(t, "lock", path)
	if line := p.line(t); line != "locked" {
		t.Fatal(line)
	}
	_, err := c.LockJob(t.Context(), lockedJob)
	if !errors.Is(err, capstan.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", p.Process.Pid)) || !strings.Contains(err.Error(), "since") {
		t.Fatalf("the lock of another process: %v", err)
	}
	other, err := c.LockJob(t.Context(), "another")
	must(t, err)
	must(t, other.Unlock())
	must(t, p.Process.Kill())
	p.Wait() //nolint:errcheck // it was killed
	lock, err := c.LockJob(t.Context(), lockedJob)
	must(t, err)
	for range 2 {
		must(t, lock.Unlock())
	}
}

func TestLockWithinProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	first, second := openAt(t, path, catalog.Options{}), openAt(t, path, catalog.Options{})
	lock, err := first.LockJob(t.Context(), job)
	must(t, err)
	for _, c := range []*catalog.Catalog{first, second} {
		_, err := c.LockJob(t.Context(), job)
		if !errors.Is(err, capstan.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
			t.Errorf("a second lock: %v", err)
		}
	}
	must(t, lock.Unlock())
	long := capstan.JobKey(strings.Repeat("long name ", 100))
	for _, key := range []capstan.JobKey{job, long, long + "er"} {
		lock, err := second.LockJob(t.Context(), key)
		must(t, err)
		defer func() { must(t, lock.Unlock()) }()
	}
}
