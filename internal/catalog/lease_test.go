package catalog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"capstan"
	"capstan/internal/machine"
)

const thing = "volume:0b2d7a3e-0000-4000-8000-000000000001"

// site is a catalog that several handles of one process have open, with clocks that
// the test moves.
type site struct {
	path string
	boot atomic.Int64 // of this machine, nanoseconds
	wall atomic.Int64 // added to the wall clock
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{path: filepath.Join(t.TempDir(), "catalog.db")}
	s.boot.Store(int64(time.Hour))
	return s
}

// open opens a handle that stands where the change says.
func (s *site) open(t *testing.T, change func(*machine.Place)) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), s.path, Options{Now: func() time.Time { return time.Now().Add(time.Duration(s.wall.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	place, err := machine.Here()
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&place)
	}
	c.here = func() (machine.Place, error) { return place, nil }
	c.boot = func() time.Duration { return time.Duration(s.boot.Load()) }
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !strings.Contains(err.Error(), "leases held") {
			t.Error(err)
		}
	})
	return c
}

func acquire(t *testing.T, c *Catalog, ttl time.Duration) *Lease {
	t.Helper()
	l, err := c.Acquire(t.Context(), thing, "the test", ttl)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func requireLocked(t *testing.T, c *Catalog, words ...string) {
	t.Helper()
	l, err := c.Acquire(t.Context(), thing, "the other", time.Hour)
	if !errors.Is(err, capstan.ErrLocked) {
		t.Fatalf("a lease that is held: %+v %v", l, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

func requireEpoch(t *testing.T, l *Lease, want int64) {
	t.Helper()
	if l.Fence() != (Fence{thing, want}) || l.Valid() != nil || l.Err() != nil {
		t.Errorf("%+v, %v; want epoch %d", l.Fence(), l.Valid(), want)
	}
}

func TestLeaseIsExclusive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.open(t, nil), s.open(t, nil)
	l := acquire(t, first, time.Hour)
	requireEpoch(t, l, 1)
	for _, c := range []*Catalog{first, second} {
		requireLocked(t, c, thing, "the test", fmt.Sprintf("process %d", l.c.pid(t)), "since "+time.Now().Format("2006-01-02"), "until ")
	}
	other, err := second.Acquire(t.Context(), "set:2026-11_000001", "another thing", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	all, err := second.Leases(t.Context())
	if err != nil || len(all) != 2 || all[1].Resource != thing || all[1].Purpose != "the test" || all[1].Expires.Sub(all[1].Granted) != time.Hour {
		t.Errorf("%+v %v", all, err)
	}
	for range 2 {
		if err := errors.Join(l.Release(t.Context()), other.Release(t.Context())); err != nil {
			t.Error(err)
		}
	}
	if err := l.Valid(); !errors.Is(err, capstan.ErrLeaseLost) || !strings.Contains(err.Error(), "given back") {
		t.Errorf("after the release: %v", err)
	}
	l = acquire(t, second, time.Hour) // the epoch survives the release, and the first owner
	requireEpoch(t, l, 2)
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if all, err := first.Leases(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%+v %v", all, err)
	}
	for _, bad := range []request{{"", "x", time.Hour}, {thing, "x", 0}} {
		if _, err := first.acquire(t.Context(), bad, false); err == nil {
			t.Errorf("%+v was granted", bad)
		}
	}
}

func (c *Catalog) pid(t *testing.T) int {
	t.Helper()
	place, err := c.here()
	if err != nil {
		t.Fatal(err)
	}
	return place.PID
}

// Owners that cannot be at work any more hold up nobody; all others do.
func TestLeaseOfAnotherPlace(t *testing.T) {
	t.Parallel()
	const unused = 1 << 30 // no system numbers processes that high
	tests := []struct {
		name   string
		change func(*machine.Place)
		free   bool
	}{
		{"this process", func(*machine.Place) {}, false},
		{"earlier boot", func(p *machine.Place) { p.Boot = "another" }, true},
		{"dead process", func(p *machine.Place) { p.PID = unused }, true},
		{"number that another process has now", func(p *machine.Place) { p.Started = "1" }, true},
		{"process that is not ours", func(p *machine.Place) { p.PID, p.Started = 1, "" }, false},
		{"another machine", func(p *machine.Place) { p.Machine, p.Boot = "other/1234", "another" }, false},
		{"container of this machine", func(p *machine.Place) { p.Machine, p.Space = "other", "pid:[1]" }, false},
		{"dead process of a container", func(p *machine.Place) { p.Machine, p.Space, p.PID = "other", "pid:[1]", unused }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			acquire(t, s.open(t, test.change), time.Hour)
			c := s.open(t, nil)
			if !test.free {
				requireLocked(t, c)
				return
			}
			l := acquire(t, c, time.Hour)
			requireEpoch(t, l, 2)
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The owner stops in time, the next one begins after that, and the wall clock has
// no part in it.
func TestLeaseEndsByTheClockOfTheBoot(t *testing.T) {
	t.Parallel()
	const years = 10 * 365 * 24 * time.Hour
	for _, jump := range []time.Duration{0, years, -years} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			first, second := s.open(t, nil), s.open(t, nil)
			l := acquire(t, first, time.Hour)
			s.wall.Store(int64(jump))
			ctx, cancel := l.Context(t.Context())
			defer cancel()
			s.boot.Add(int64(53 * time.Minute))
			requireEpoch(t, l, 1)
			requireLocked(t, second)
			s.boot.Add(int64(2 * time.Minute)) // within the margin: nobody is at work
			if err := l.Valid(); !errors.Is(err, capstan.ErrLeaseLost) || !strings.Contains(err.Error(), "could not be renewed since") {
				t.Errorf("at the end of its time: %v", err)
			}
			<-ctx.Done()
			if err := context.Cause(ctx); !errors.Is(err, capstan.ErrLeaseLost) || l.Err() == nil {
				t.Errorf("work under it ended with %v", err)
			}
			requireLocked(t, second)
			s.boot.Add(int64(6 * time.Minute))
			next := acquire(t, second, time.Hour)
			requireEpoch(t, next, 2)
			if err := l.Release(t.Context()); err != nil { // the other's is left alone
				t.Error(err)
			}
			requireEpoch(t, next, 2)
			requireLocked(t, first)
			if err := next.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was heard of another machine counts, not what its clock says.
func TestLeaseOfAnotherMachineIsWatched(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			far := s.open(t, func(p *machine.Place) { p.Machine, p.Boot = "other/1234", "another" })
			far.boot = machine.Boot
			l := acquire(t, far, ttl)
			near := s.open(t, nil)
			near.boot = machine.Boot
			near.now = func() time.Time { return time.Now().Add(jump) } // the two clocks disagree
			requireLocked(t, near, "the test")                          // it renews, so it is held
			requireEpoch(t, l, 1)
			l.stop() // from here on it is silent
			<-l.kept
			begun := time.Now()
			next := acquire(t, near, time.Hour)
			if took := time.Since(begun); took < ttl {
				t.Errorf("it was taken after %s", took)
			}
			requireEpoch(t, next, 2)
			if l.Valid() == nil {
				t.Error("two are valid at once")
			}
			if err := errors.Join(next.Release(t.Context()), l.Release(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

// The keeper renews by itself, and what it moves on is what others judge by.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	const ttl = 300 * time.Millisecond
	s := newSite(t) // its clock goes on by a third of the time after each renewal
	first, second := s.open(t, nil), s.open(t, nil)
	l := acquire(t, first, ttl)
	seen := int64(0)
	for deadline := time.Now().Add(time.Minute); seen < 10 && time.Now().Before(deadline); {
		row, _, err := findLease(t.Context(), second.reads, thing)
		if err != nil {
			t.Fatal(err)
		}
		if row.renewals > seen {
			seen++
			s.boot.Add(int64(ttl / 3))
		}
		requireEpoch(t, l, 1)
		requireLocked(t, second)
		if t.Failed() {
			break
		}
	}
	if seen < 10 {
		t.Errorf("%d renewals", seen)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// A catalog that somebody else keeps for longer than the lease lasts is the end of
// it, in time, and the error names both.
func TestLeaseThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	const ttl = 500 * time.Millisecond
	s := newSite(t)
	first, second := s.open(t, nil), s.open(t, nil)
	first.boot, second.boot = machine.Boot, machine.Boot
	l := acquire(t, first, ttl)
	begun := machine.Boot()
	err := second.write(t.Context(), "keep the catalog", func(*tx) error {
		<-l.Done()
		return nil
	})
	if took := machine.Boot() - begun; err != nil || took > 20*ttl {
		t.Errorf("it ended after %s: %v", took, err)
	}
	if err := l.Valid(); !errors.Is(err, capstan.ErrLeaseLost) || !strings.Contains(err.Error(), "could not be renewed since") {
		t.Errorf("a lease that could not be renewed: %v", err)
	}
	next, err := second.AcquireWait(t.Context(), thing, "the next", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	requireEpoch(t, next, 2)
	if err := errors.Join(l.Release(t.Context()), next.Release(t.Context())); err != nil {
		t.Error(err)
	}
}

// An owner whose epoch is not the last one learns so at its next renewal, and who
// has the lease now.
func TestLeaseThatAnotherHas(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.open(t, nil), s.open(t, nil)
	l := acquire(t, first, 600*time.Millisecond) // this clock stands, so it is not over
	second.boot = func() time.Duration { return time.Duration(s.boot.Load()) + time.Hour }
	next, err := second.Acquire(t.Context(), thing, "the thief", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	<-l.Done()
	if err := l.Valid(); !errors.Is(err, capstan.ErrLeaseLost) || !strings.Contains(err.Error(), "has it for the thief, since ") {
		t.Errorf("%v", err)
	}
	if err := errors.Join(l.Release(t.Context()), next.Release(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestLeaseIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.open(t, nil), s.open(t, nil)
	began, ended := make(chan string, 100), make(chan bool, 100)
	second.wait = func(on string) func() { began <- on; return func() { ended <- true } }
	l := acquire(t, first, time.Hour)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	go func() {
		<-began
		cancel(stop)
	}()
	if _, err := second.AcquireWait(ctx, thing, "patience", time.Hour); !errors.Is(err, stop) {
		t.Errorf("a wait that was cancelled: %v", err)
	}
	<-ended
	go func() {
		if on := <-began; on != "lock" {
			t.Errorf("waits for %s", on)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	next, err := second.AcquireWait(t.Context(), thing, "patience", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	requireEpoch(t, next, 2)
	<-ended
	if err := next.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// A hundred want it; each gets it once, never two at a time, with an epoch of its own.
func TestLeaseContenders(t *testing.T) {
	t.Parallel()
	const contenders = 100
	s := newSite(t)
	handles := []*Catalog{s.open(t, nil), s.open(t, nil), s.open(t, nil)}
	var inside, refused atomic.Int64
	var mu sync.Mutex
	epochs := map[int64]bool{}
	var group sync.WaitGroup
	for i := range contenders {
		group.Go(func() {
			c := handles[i%len(handles)]
			if l, err := c.Acquire(t.Context(), thing, "at once", time.Hour); err == nil {
				if inside.Add(1) != 1 {
					t.Error("two have it")
				}
				mu.Lock()
				epochs[l.Fence().Epoch] = true
				mu.Unlock()
				inside.Add(-1)
				if err := l.Release(t.Context()); err != nil {
					t.Error(err)
				}
				return
			} else if !errors.Is(err, capstan.ErrLocked) {
				t.Error(err)
			}
			refused.Add(1)
			l, err := c.AcquireWait(t.Context(), thing, "in its turn", time.Hour)
			if err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two have it")
			}
			mu.Lock()
			epochs[l.Fence().Epoch] = true
			mu.Unlock()
			inside.Add(-1)
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	t.Logf("%d were refused at first", refused.Load())
	if len(epochs) != contenders || !epochs[1] || !epochs[contenders] {
		t.Errorf("%d epochs", len(epochs))
	}
}

func TestLeaseOfAClosedCatalog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.open(t, nil), s.open(t, nil)
	l := acquire(t, first, time.Hour)
	if err := first.Close(); err == nil || !strings.Contains(err.Error(), "1 leases held") {
		t.Errorf("closed with a lease: %v", err)
	}
	if l.Valid() == nil {
		t.Error("a lease outlived its catalog")
	}
	requireLocked(t, second) // its process lives, and may be at work
	if err := errors.Join(l.Release(t.Context()), first.Close()); err != nil {
		t.Error(err)
	}
}
