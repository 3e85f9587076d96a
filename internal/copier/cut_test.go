package copier

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/disk"
	"capstan/internal/progress"
)

// balky is a volume of which one call does not come back.
type balky struct {
	capstan.Volume
	hangs   func(ctx context.Context, call string) // may block
	changes atomic.Int64                           // calls that change the volume, and began
	closed  atomic.Int64
}

func (v *balky) ClaimSet(ctx context.Context, set capstan.SetID, owner string) error {
	v.changes.Add(1)
	v.hangs(ctx, "claim")
	return v.Volume.ClaimSet(ctx, set, owner)
}

func (v *balky) Remove(ctx context.Context, set capstan.SetID, names ...string) error {
	v.changes.Add(1)
	v.hangs(ctx, "remove")
	return v.Volume.Remove(ctx, set, names...)
}

func (v *balky) Create(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeFile, error) {
	v.changes.Add(1)
	v.hangs(ctx, "create")
	file, err := v.Volume.Create(ctx, set, name)
	if err != nil {
		return nil, err
	}
	return &balkyFile{file, v, ctx}, nil
}

func (v *balky) Close() error {
	v.closed.Add(1)
	return v.Volume.Close()
}

type balkyFile struct {
	capstan.VolumeFile
	volume *balky
	ctx    context.Context //nolint:containedctx // of Create
}

func (f *balkyFile) Write(p []byte) (int, error) {
	f.volume.changes.Add(1)
	f.volume.hangs(f.ctx, "write")
	if cause := context.Cause(f.ctx); cause != nil {
		return 0, cause
	}
	return f.VolumeFile.Write(p)
}

func (f *balkyFile) Commit(ctx context.Context) error {
	f.volume.changes.Add(1)
	f.volume.hangs(ctx, "commit")
	return f.VolumeFile.Commit(ctx)
}

// withBalky makes the first volume one of which a call hangs.
func (r *rig) withBalky(hangs func(ctx context.Context, call string)) *balky {
	v := &balky{hangs: hangs}
	r.options.Open = func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
		if info.ID != r.volumes[0].Info.ID {
			return r.open(ctx, info)
		}
		hangs(ctx, "open")
		volume, err := r.open(ctx, info)
		if err != nil {
			return nil, err
		}
		v.Volume = volume
		return v, nil
	}
	return v
}

var errStall = &progress.Stall{Stage: "copy to a", For: time.Minute}

// A volume that ends its calls when they are cancelled is cut off, and tried again.
func TestCutOfAVolumeThatReacts(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	hanging := make(chan struct{}, 1)
	var once atomic.Bool
	v := r.withBalky(func(ctx context.Context, call string) {
		if call == "write" && once.CompareAndSwap(false, true) {
			hanging <- struct{}{}
			<-ctx.Done()
		}
	})
	r.pack(1000)
	r.start(t.Context())
	if r.queue.Cut("copy to nowhere", errStall) || r.queue.Cut("pack", errStall) {
		t.Error("a stage was cut that is none of a volume")
	}
	<-hanging
	if !r.queue.Cut(StageName(r.volumes[0].Info), errStall) {
		t.Error("it was not cut")
	}
	outcomes := r.drain(capstan.CopyWritten, capstan.CopyWritten)
	if outcomes[0].Stuck || v.closed.Load() != 1 {
		t.Errorf("%+v, closed %d times", outcomes[0], v.closed.Load())
	}
	r.requireSaid("attempt 1 of 3 failed")
	r.requireSaid(errStall.Error())
	if c := r.copyOf(1, 0); c.Attempts != 1 {
		t.Errorf("%+v", c)
	}
	if r.queue.Cut(StageName(r.volumes[0].Info), errStall) {
		t.Error("an owner was cut that is at no work")
	}
	r.requireWhole()
}

// A volume whose call does not come back is left behind after the grace, in whatever
// call. When that returns at last, nothing more is written.
func TestCutOfAVolumeThatHangs(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"open", "claim", "create", "write", "commit", "remove"} {
		for _, how := range []string{"cut", "cancelled"} {
			t.Run(call+" "+how, func(t *testing.T) {
				t.Parallel()
				hangIn(t, call, how == "cut")
			})
		}
	}
}

func hangIn(t *testing.T, call string, cut bool) {
	t.Helper()
	r := newRig(t, memory(t))
	r.options.Grace = 30 * time.Millisecond
	r.options.LeaseTime = leaseForTests
	hanging, release, released := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	v := r.withBalky(func(_ context.Context, at string) {
		if at == call && once.CompareAndSwap(false, true) {
			hanging <- struct{}{}
			<-release
			close(released)
		}
	})
	r.pack(1000, 1000)
	if call == "remove" {
		r.place(0, r.archives()[0].Name, []byte("something else"))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	r.start(ctx)
	<-hanging
	why := errors.New("the run is over")
	if cut {
		if !r.queue.Cut(StageName(r.volumes[0].Info), errStall) || r.queue.Cut(StageName(r.volumes[0].Info), errStall) {
			t.Error("it was not cut, or twice")
		}
	} else {
		cancel(why)
	}
	outcomes, err := r.queue.Drain()
	if !outcomes[0].Stuck || outcomes[0].State != capstan.CopyFailed || !strings.Contains(outcomes[0].Problem, "answer") && cut {
		t.Errorf("%+v", outcomes[0])
	}
	if cut && (err != nil || outcomes[1].State != capstan.CopyWritten) {
		t.Errorf("the other volume: %+v, %v", outcomes[1], err)
	}
	written := r.requireTrue("left behind")
	if cut && (written[1] != 2 || r.state(2, 0) == capstan.CopyQueued) {
		t.Errorf("%d written, the second is %s", written[1], r.state(2, 0))
	}
	if leases, err := r.catalog.Leases(t.Context()); err != nil || len(leases) != 0 {
		t.Errorf("the lease is held by nobody who works: %+v %v", leases, err)
	}
	// It comes back: what it was in may come to its end, and then nothing more happens.
	changes, owner := v.changes.Load(), r.queue.owners[0]
	var late atomic.Int64
	r.fault("a", func(op disk.Op, _ string, _ int) error {
		switch op {
		case disk.OpRename:
			late.Add(1)
		default:
		}
		return nil
	})
	close(release)
	<-released
	until(t, "the work that was left behind has ended", func() bool {
		owner.mu.Lock()
		defer owner.mu.Unlock()
		return v.closed.Load() > 0 || call != "open"
	})
	next := r.sibling()
	if got := v.changes.Load(); got > changes {
		t.Errorf("%d changes of the volume began after it was fenced", got-changes)
	}
	if n := late.Load(); n > 0 && call != "claim" { // the claim itself was under way
		t.Errorf("%d names were given after it was fenced", n)
	}
	next.complete()
}

// sibling is another queue of the same process, with volumes that work.
func (r *rig) sibling() *rig {
	r.options.Open, r.options.Grace, r.queue = r.open, 10*time.Second, nil
	return r
}

// until polls with patience.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// ctx ends before each step in turn: nothing is said to be written that is not, and
// what is missing is taken up again.
func TestCancelledAtEveryStep(t *testing.T) {
	t.Parallel()
	why := errors.New("enough")
	template := sealed(t, 1000)
	for n := int64(1); ; n++ {
		r := copied(t, template)
		r.options.LeaseTime = leaseForTests
		ctx, cancel := context.WithCancelCause(t.Context())
		var count atomic.Int64
		r.eachStep(func() {
			if count.Add(1) == n {
				cancel(why)
			}
		})
		r.start(ctx)
		outcomes, err := r.queue.Drain()
		whole := outcomes[0].State == capstan.CopyWritten && outcomes[1].State == capstan.CopyWritten
		if err != nil || count.Load() >= n && !whole && outcomes[0].Problem+outcomes[1].Problem == "" {
			t.Errorf("cancelled at step %d: %+v, %v", n, outcomes, err)
		}
		r.requireTrue("cancelled")
		r.eachStep(nil)
		for i := range r.volumes {
			if state := r.state(1, i); state == capstan.CopyFailed {
				t.Errorf("cancelled at step %d: a copy is %s", n, state)
			}
		}
		before := r.identities()
		r.complete()
		r.requireUntouched(before, "taken up again")
		cancel(nil)
		r.close()
		if count.Load() < n {
			return
		}
	}
}

// eachStep calls step before every operation on a disk and whenever the clock is
// read, which is also between the end of a copy and the catalog's word of it.
func (r *rig) eachStep(step func()) {
	r.options.Now = nil
	var fault disk.FaultFunc
	if step != nil {
		r.options.Now = func() time.Time {
			step()
			return time.Now()
		}
		fault = func(disk.Op, string, int) error {
			step()
			return nil
		}
	}
	for _, place := range []string{"stage", "a", "b"} {
		r.fault(place, fault)
	}
}

// The lease is lost in the middle of a write: nothing more is written under it, the
// volume is taken anew, and the copy is no failed attempt.
func TestLeaseLostInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, in := range []disk.Op{disk.OpWrite, disk.OpSync, disk.OpCreate} {
		for _, file := range []string{".tar.part", endName + ".part"} {
			t.Run(string(in)+" of "+file, func(t *testing.T) {
				t.Parallel()
				loseLease(t, in, file)
			})
		}
	}
}

func loseLease(t *testing.T, in disk.Op, file string) {
	t.Helper()
	r := newRig(t, memory(t))
	r.options.LeaseTime, r.options.Attempts = leaseForTests, 1
	other, err := catalog.Open(t.Context(), r.catalog.Path(), catalog.Options{})
	r.must(err)
	defer func() { r.must(other.Close()) }()
	resource := "volume:" + string(r.volumes[0].Info.ID)
	r.pack(1000)
	var taken *catalog.Lease
	var violations atomic.Int64
	started, lost, giveBack := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r.fault("a", func(op disk.Op, path string, _ int) error {
		<-started
		owner := r.queue.owners[0]
		select {
		case <-lost:
			lease := owner.lease.Load()
			switch op {
			case disk.OpCreate, disk.OpWrite, disk.OpRename, disk.OpRemove, disk.OpMkdir:
				if lease == nil || lease.Valid() != nil {
					violations.Add(1)
				}
			default:
			}
			return nil
		default:
		}
		if op != in || !strings.HasSuffix(path, file) {
			return nil
		}
		// This very step is under way when the lease goes; it is the last one.
		r.must(owner.lease.Load().Release(t.Context()))
		var err error
		taken, err = other.Acquire(t.Context(), resource, "somebody else", time.Hour)
		r.must(err)
		close(lost)
		go func() {
			<-giveBack
			if err := taken.Release(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}()
		return nil
	})
	r.start(t.Context())
	close(started)
	if file == ".tar.part" {
		<-lost
		until(t, "it waits for the volume", func() bool { return stageWaits(r, progress.ForLock) })
		if r.state(1, 0) == capstan.CopyWritten || r.state(1, 0) == capstan.CopyFailed {
			t.Errorf("the copy is %s", r.state(1, 0))
		}
		close(giveBack)
	} else { // that is written when no more archives come
		go func() {
			<-lost
			close(giveBack)
		}()
	}
	r.drain(capstan.CopyWritten, capstan.CopyWritten)
	if n := violations.Load(); n > 0 {
		t.Errorf("%d changes of the volume without its lease", n)
	}
	if c := r.copyOf(1, 0); c.Attempts != 0 {
		t.Errorf("%+v", c)
	}
	r.requireWhole()
}

// stageWaits reports whether the owner of the first volume waits for something.
func stageWaits(r *rig, on progress.Resource) bool {
	for _, s := range r.options.Tracker.Snapshot().Stages {
		if s.Name == StageName(r.volumes[0].Info) && s.Waiting == on {
			return true
		}
	}
	return false
}
