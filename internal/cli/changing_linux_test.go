package cli_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"capstan/internal/capstantest"
)

// churn changes what lies below dir, in every way that a file tree changes,
// until ctx ends: it grows, cuts, deletes, replaces and renames files, makes and
// removes directories, and turns each into the other.
func churn(ctx context.Context, dir string, seed uint64, done *atomic.Int64) error {
	random := rand.New(rand.NewPCG(seed, 3))
	place := func() string {
		return filepath.Join(dir, fmt.Sprintf("d%d", random.IntN(12)), fmt.Sprintf("e%d", random.IntN(4)), fmt.Sprintf("f%d", random.IntN(12)))
	}
	bytes := noise(seed, 700<<10)
	pace := time.NewTicker(500 * time.Microsecond) // leaves some of the machine to the backup
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		path := place()
		var err error
		switch random.IntN(9) {
		case 0, 1, 2: // a new or replaced file, small or large
			size := 1 + random.IntN(4000)
			if random.IntN(4) == 0 {
				size = 1 + random.IntN(600<<10)
			}
			if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
				err = os.WriteFile(path, bytes[:size], 0o644)
			}
		case 3: // grows
			var file *os.File
			if file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
				_, err = file.Write(bytes[:1+random.IntN(100<<10)])
				err = errors.Join(err, file.Close())
			}
		case 4: // shrinks
			err = os.Truncate(path, int64(random.IntN(2000)))
		case 5:
			err = os.Rename(path, place())
		case 6:
			err = os.Remove(path)
		case 7: // a directory goes, with all below it
			err = os.RemoveAll(filepath.Dir(path))
		case 8: // a directory where a file was, or the other way round
			if err = os.RemoveAll(path); err == nil {
				if err = os.MkdirAll(filepath.Join(path, "below"), 0o755); err == nil {
					err = os.Symlink("../nowhere", filepath.Join(path, "below", "link"))
				}
			}
		}
		if err == nil {
			done.Add(1)
		}
	}
}

// TestChangingSource backs up a tree in which others work: every run ends as
// complete or partial, every number adds up, every set can be restored, and what
// did not change is stored to the byte.
func TestChangingSource(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, filepath.Join(f.data, "m stable"), 20)
	if err := os.Remove(filepath.Join(f.data, "m stable", splitLink)); err != nil { // tar complains of it before RESTORE.txt makes it
		t.Fatal(err)
	}
	write(t, filepath.Join(f.data, "z", "deep", "last"), noise(21, 300<<10))
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error)
	const workers = 2
	var done atomic.Int64
	for i := range workers { // before the stable part, and after it
		go func() { over <- churn(ctx, filepath.Join(f.data, [...]string{"a", "y"}[i]), uint64(i), &done) }()
	}
	defer func() {
		stop()
		for range workers {
			if err := <-over; err != nil {
				t.Error(err)
			}
		}
	}()
	backup := []string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB", "--json"}
	outcomes := map[string]int64{}
	for round := range 6 {
		start := done.Load()
		until(t, "changes", func() bool { return done.Load() > start+20 })
		e := f.try(backup...)
		s := summaryOf(t, e)
		if e.code != 0 && e.code != 3 || (e.code == 3) != (s.Failed > 0) || (s.Status == "partial") != (s.Failed > 0) {
			t.Fatalf("exit %d, %d failed, %s:\n%s%s", e.code, s.Failed, s.Status, e.out, e.err)
		}
		if sum := s.Stored + s.Changed + s.Unchanged + s.Excluded + s.Vanished + s.Failed; sum != s.Entries || int64(len(s.Problems)) != s.Failed {
			t.Errorf("%d entries, but the outcomes add up to %d, and %d of %d failures are named: %s", s.Entries, sum, len(s.Problems), s.Failed, e.out)
		}
		outcomes["stored"] += s.Stored
		outcomes["changed"] += s.Changed
		outcomes["vanished"] += s.Vanished
		outcomes["failed"] += s.Failed
		f.counted(s)
		back := filepath.Join(f.dir, fmt.Sprintf("back-%d", round))
		restored := summaryOf(t, f.exits(0, []string{"restore", s.Set, "--to", back, "--json"}))
		if restored.Entries != s.Stored+s.Changed {
			t.Errorf("set %s: %d entries restored of %d held", s.Set, restored.Entries, s.Stored+s.Changed)
		}
		if n := int64(len(everything(t, back))); n != restored.Entries {
			t.Errorf("set %s: %d entries restored, %d are there", s.Set, restored.Entries, n)
		}
		for _, stable := range []string{"m stable", "z"} {
			capstantest.CompareTrees(t, filepath.Join(f.data, stable), filepath.Join(back, "data", stable))
		}
		if round == 3 {
			stock := filepath.Join(f.dir, "stock")
			stockRestore(t, filepath.Join(f.vol, s.Set), stock)
			capstantest.CompareTrees(t, back, stock, capstantest.IgnoreTimes(), capstantest.IgnoreHoles(), capstantest.IgnoreRoot())
		}
		capstantest.RemoveAll(t, back)
	}
	t.Logf("%d changes; outcomes %v", done.Load(), outcomes)
	f.run("verify", "--read-data")
	f.run("catalog", "check")
}

// counted compares a run's numbers with what the catalog holds of its set.
func (f *field) counted(s summary) {
	f.t.Helper()
	counts := map[string]int64{}
	for _, entry := range parse[struct{ Path, Outcome string }](f.t, f.run("ls", s.Set, "-r", "--json")) {
		counts[entry.Outcome]++
	}
	for outcome, n := range map[string]int64{"stored": s.Stored, "changed": s.Changed, "vanished": s.Vanished, "failed": s.Failed, "excluded": s.Excluded} {
		if counts[outcome] != n {
			f.t.Errorf("set %s: %d %s in the summary, %d in the catalog", s.Set, n, outcome, counts[outcome])
		}
	}
	for _, problem := range s.Problems {
		if !strings.HasPrefix(problem.Object, "data/") || problem.Reason == "" {
			f.t.Errorf("a failure is not named: %+v", problem)
		}
	}
}
