package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capstan"
)

// line starts requests one after another, each when the one before waits, and
// notes the order in which they are granted.
type line struct {
	t       *testing.T
	s       *Stage
	group   sync.WaitGroup
	mu      sync.Mutex
	order   []string
	granted map[string]*Reservation
}

func newLine(t *testing.T, s *Stage) *line {
	return &line{t: t, s: s, granted: map[string]*Reservation{}}
}

func (l *line) reserve(ctx context.Context, name string, n capstan.Bytes) {
	l.group.Go(func() {
		r, err := l.s.Reserve(ctx, n)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err != nil {
			name += " failed"
			if !errors.Is(err, context.Cause(ctx)) {
				l.t.Errorf("%s: %v", name, err)
			}
		}
		l.order = append(l.order, name)
		l.granted[name] = r
	})
	synctest.Wait()
}

// expect compares the order so far.
func (l *line) expect(want ...string) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.order, want) {
		l.t.Errorf("granted %q, want %q", l.order, want)
	}
}

// release gives back at once what was granted, and measures how long it takes
// until those who wait have gone on.
func (l *line) release(name string) {
	l.t.Helper()
	l.mu.Lock()
	r := l.granted[name]
	l.mu.Unlock()
	begun := time.Now()
	release(l.t, r)
	synctest.Wait()
	if took := time.Since(begun); took != 0 {
		l.t.Errorf("the release of %s took %s", name, took)
	}
}

// bubble runs a test on a stage of 100 bytes in fake time, which stands still
// while anything moves: what was woken by a timer would show.
func bubble(t *testing.T, o Options, test func(t *testing.T, s *Stage)) {
	t.Helper()
	path := t.TempDir()
	o.Quota, o.Reserve = 100, -1
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), path, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		test(t, s)
	})
}

func TestRequestsAreGrantedInTheirOrder(t *testing.T) {
	t.Parallel()
	bubble(t, Options{}, func(t *testing.T, s *Stage) {
		l := newLine(t, s)
		l.reserve(t.Context(), "first", 60)
		l.reserve(t.Context(), "large", 100)
		l.reserve(t.Context(), "small", 40) // would fit now, but must not overtake
		l.reserve(t.Context(), "last", 70)
		l.expect("first")
		l.release("first")
		l.expect("first", "large")
		l.release("large")
		l.expect("first", "large", "small")
		l.release("small")
		l.expect("first", "large", "small", "last")
		if u := usage(t, s); u.Held != 70 || u.Free != 30 {
			t.Errorf("%+v", u)
		}
		l.group.Wait()
	})
}

// Whoever gives up lets those behind go on at once.
func TestCancelledRequestLeavesTheQueue(t *testing.T) {
	t.Parallel()
	var w waits
	bubble(t, Options{Wait: w.hook}, func(t *testing.T, s *Stage) {
		l := newLine(t, s)
		l.reserve(t.Context(), "first", 60)
		ctx, cancel := context.WithCancelCause(t.Context())
		l.reserve(ctx, "large", 100)
		l.reserve(t.Context(), "small", 10)
		l.expect("first")
		begun := time.Now()
		cancel(errors.New("the run was cancelled"))
		synctest.Wait()
		slices.Sort(l.order) // the two end in the same moment
		l.expect("first", "large failed", "small")
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %s", took)
		}
		l.group.Wait()
	})
	said, open := w.all()
	if open != 0 || len(said) != 2 || !strings.HasPrefix(said[0], "space: ") {
		t.Errorf("declared %q, %d open", said, open)
	}
}

// What a file does not need any more wakes those who wait, at once.
func TestEndedFilesWake(t *testing.T) {
	t.Parallel()
	ends := map[string]func(file capstan.VolumeFile) error{
		"commit": func(file capstan.VolumeFile) error { return file.Commit(context.Background()) }, //nolint:usetesting // no test's context is at hand
		"abort":  capstan.VolumeFile.Abort,
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, Options{}, func(t *testing.T, s *Stage) {
				file := begin(t, s, setOne, nameOne, reserve(t, s, 100))
				write(t, file, "0123456789")
				l := newLine(t, s)
				l.reserve(t.Context(), "next", 90)
				begun := time.Now()
				if err := end(file); err != nil {
					t.Error(err)
				}
				l.expect("next")
				if took := time.Since(begun); took != 0 {
					t.Errorf("it took %s", took)
				}
				l.group.Wait()
			})
		})
	}
}

func TestDeadlineEndsTheWait(t *testing.T) {
	t.Parallel()
	bubble(t, Options{}, func(t *testing.T, s *Stage) {
		held := reserve(t, s, 80)
		why := errors.New("--timeout")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, why)
		defer cancel()
		begun := time.Now()
		if _, err := s.Reserve(ctx, 30); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took != 20*time.Second {
			t.Errorf("after %s", took)
		}
		release(t, held)
		release(t, reserve(t, s, 100)) // nothing is left of it in the queue
	})
}

func TestReserveRefusesAtOnce(t *testing.T) {
	t.Parallel()
	var w waits
	bubble(t, Options{Wait: w.hook}, func(t *testing.T, s *Stage) {
		held := reserve(t, s, 100)
		_, err := s.Reserve(t.Context(), 101)
		if e, ok := errors.AsType[*capstan.Error](err); !ok || !errors.Is(err, capstan.ErrNoSpace) || e.Next == "" {
			t.Errorf("more than the whole stage: %v", err)
		}
		if _, err := s.Reserve(t.Context(), -1); err == nil {
			t.Error("a negative size passed")
		}
		release(t, held)
		release(t, held) // again
		release(t, reserve(t, s, 100))
		release(t, reserve(t, s, 0))
	})
	if said, _ := w.all(); len(said) != 0 {
		t.Errorf("declared %q", said)
	}
}

// A file that outgrows its reservation comes before new archives: only it can
// end and free something.
func TestGrowthComesFirst(t *testing.T) {
	t.Parallel()
	bubble(t, Options{}, func(t *testing.T, s *Stage) {
		l := newLine(t, s)
		file := begin(t, s, setOne, nameOne, reserve(t, s, 60))
		blocker := reserve(t, s, 40)
		l.reserve(t.Context(), "next", 50)
		l.group.Go(func() {
			_, err := file.Write([]byte(strings.Repeat("x", 70)))
			l.mu.Lock()
			defer l.mu.Unlock()
			l.order = append(l.order, fmt.Sprint("grown ", err))
		})
		l.expect()
		release(t, blocker)
		l.expect("grown <nil>")
		if err := file.Commit(t.Context()); err != nil {
			t.Error(err)
		}
		l.expect("grown <nil>") // 70 sealed, 50 wanted
		if err := s.Remove(t.Context(), setOne, nameOne); err != nil {
			t.Error(err)
		}
		l.expect("grown <nil>", "next")
		l.group.Wait()
	})
}

// Two archives fill the stage and both need more: waiting would never end, so
// the younger one fails and the older one goes on.
func TestWritersThatHoldEachOtherUp(t *testing.T) {
	t.Parallel()
	bubble(t, Options{}, func(t *testing.T, s *Stage) {
		older := begin(t, s, setOne, nameOne, reserve(t, s, 50))
		younger := begin(t, s, setTwo, nameTwo, reserve(t, s, 50))
		var group sync.WaitGroup
		var olderErr, youngerErr error
		group.Go(func() { _, olderErr = older.Write([]byte(strings.Repeat("o", 60))) })
		synctest.Wait()
		group.Go(func() {
			_, youngerErr = younger.Write([]byte(strings.Repeat("y", 60)))
			if err := younger.Abort(); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		if !errors.Is(youngerErr, capstan.ErrNoSpace) || !strings.Contains(youngerErr.Error(), "nothing in it can become free") {
			t.Errorf("the younger: %v", youngerErr)
		}
		if olderErr != nil {
			t.Errorf("the older: %v", olderErr)
		}
		if err := older.Commit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// While an archive is sealed, a volume may still free room: then it is a wait.
func TestWritersWaitForTheVolume(t *testing.T) {
	t.Parallel()
	var w waits
	bubble(t, Options{Wait: w.hook}, func(t *testing.T, s *Stage) {
		seal(t, s, setOne, "sealed", strings.Repeat("s", 20))
		one := begin(t, s, setOne, nameOne, reserve(t, s, 40))
		two := begin(t, s, setTwo, nameTwo, reserve(t, s, 40))
		var group sync.WaitGroup
		for _, file := range []capstan.VolumeFile{one, two} {
			group.Go(func() {
				if _, err := file.Write([]byte(strings.Repeat("x", 50))); err != nil {
					t.Error(err)
				}
				if err := file.Commit(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(time.Minute) // a healthy wait has no end of its own
		if _, open := w.all(); open != 2 {
			t.Errorf("%d waits are open", open)
		}
		if err := s.Remove(t.Context(), setOne, "sealed"); err != nil {
			t.Error(err)
		}
		group.Wait()
		if u := usage(t, s); u.Sealed != 100 {
			t.Errorf("%+v", u)
		}
	})
	said, _ := w.all()
	if want := "set 2026-11_000001 20 B in 1 files"; len(said) != 2 || !strings.Contains(said[0], want) || !strings.Contains(said[0], "being written: process") {
		t.Errorf("declared %q, want that it says %q and who writes", said, want)
	}
}

// What belongs to nobody is freed by nobody.
func TestForeignFilesFillTheStage(t *testing.T) {
	t.Parallel()
	bubble(t, Options{}, func(t *testing.T, s *Stage) {
		put(t, s.file(finalArea, "notes", "x.txt"), strings.Repeat("f", 90)) // below a foreign directory: not looked at
		release(t, reserve(t, s, 100))
		put(t, s.area(finalArea)+"/x.txt", strings.Repeat("f", 90))
		_, err := s.Reserve(t.Context(), 50)
		if !errors.Is(err, capstan.ErrNoSpace) || !strings.Contains(err.Error(), "90 B are in files that belong to nobody") {
			t.Errorf("got %v", err)
		}
		release(t, reserve(t, s, 10))
	})
}

// A quota that is smaller than what lies in the stage lets volumes drain it.
func TestShrunkQuota(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	first := open(t, path, Options{Quota: capstan.MiB})
	seal(t, first, setOne, nameOne, pattern(600))
	seal(t, first, setOne, nameTwo, pattern(600))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), path, Options{Quota: 1000, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		report, err := s.Reconcile(t.Context(), keepAll)
		if lines := strings.Join(report.Lines(), "\n"); err != nil || !strings.Contains(lines, "more than its size") {
			t.Errorf("%v, %q", err, lines)
		}
		if u := usage(t, s); u.Free != 0 || u.Used != 1200 || u.Quota != 1000 {
			t.Errorf("%+v", u)
		}
		l := newLine(t, s)
		l.reserve(t.Context(), "next", 400)
		l.expect()
		if err := s.Remove(t.Context(), setOne, nameOne); err != nil {
			t.Error(err)
		}
		l.expect("next")
		l.group.Wait()
	})
}

// Two owners in one process do not know each other: they meet in the ledger.
func TestOwnersShareTheQuota(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	bubbleOf := func(t *testing.T) *Stage {
		s, err := Open(t.Context(), path, Options{Quota: 100, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	synctest.Test(t, func(t *testing.T) {
		a, b := bubbleOf(t), bubbleOf(t)
		defer a.Close()
		defer b.Close()
		held := reserve(t, a, 70)
		inB, inA := newLine(t, b), newLine(t, a)
		inB.reserve(t.Context(), "large", 90)
		inA.reserve(t.Context(), "small", 20) // behind, though its own process has only itself
		begun := time.Now()
		release(t, held)
		inB.group.Wait()
		if took := time.Since(begun); took > 2*recheck {
			t.Errorf("the other owner noticed after %s", took)
		}
		time.Sleep(2 * recheck)
		inA.expect()
		inB.expect("large")
		release(t, inB.granted["large"])
		inA.group.Wait()
		inA.expect("small")
	})
}

func TestWaitingEndsWithClose(t *testing.T) {
	t.Parallel()
	bubble(t, Options{}, func(t *testing.T, s *Stage) {
		reserve(t, s, 100)
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := s.Reserve(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "closed") {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		begun := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}
