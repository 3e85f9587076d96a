package copier

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/progress"
)

func hashOf(data []byte) capstan.Hash { return sha256.Sum256(data) }

const mib = 1 << 20

// isArchive reports whether an operation writes bytes of an archive.
func isArchive(op disk.Op, path string) bool {
	return op == disk.OpWrite && strings.HasSuffix(path, ".tar.part")
}

func TestEverythingOnEveryVolume(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.options.LeaseTime = leaseForTests
	r.pack(mib/2, 2*mib+1)
	r.start(t.Context())
	r.pack(mib, 1, 0)
	for _, o := range r.drain(capstan.CopyWritten, capstan.CopyWritten) {
		if o.Archives != 5 || o.Bytes != mib/2+2*mib+1+mib+1 || o.Stuck {
			t.Errorf("%+v", o)
		}
	}
	r.requireWhole()
	before := r.identities()
	r.bring(capstan.CopyWritten, capstan.CopyWritten) // once more: nothing to do but the end
	r.requireUntouched(before, "brought again")
}

func TestAnEmptySet(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.bring(capstan.CopyWritten, capstan.CopyWritten)
	r.requireWhole()
}

// The second archive is packed while the first is being written, and the events say so.
func TestPackingOverlapsWriting(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	sub := r.options.Tracker.Subscribe(1000)
	packed := make(chan struct{})
	r.fault("a", func(op disk.Op, path string, _ int) error {
		if isArchive(op, path) {
			<-packed
		}
		return nil
	})
	r.pack(mib)
	r.start(t.Context())
	wantEvent(t, sub, progress.EventBegin, progress.StepWrite, 1, filepath.Join(r.home, "a"))
	r.pack(mib, mib)
	close(packed)
	r.drain(capstan.CopyWritten, capstan.CopyWritten)
	sub.Close()
	var order []string
	for {
		e, err := sub.Next(t.Context())
		if err != nil {
			break
		}
		if e.Stage == progress.StepEnqueue || e.Stage == progress.StepDelete || e.Object != "" && e.Object[len(e.Object)-1] == 'a' {
			_, number, _, _ := capstan.ParseArchiveName(e.Archive)
			order = append(order, string(e.Type)+" "+e.Stage+string('0'+rune(number)))
			if e.Type == progress.EventEnd && e.Stage == progress.StepWrite && (e.Bytes != mib || e.Error != "" || e.Seconds <= 0) {
				t.Errorf("%+v", e)
			}
		}
	}
	at := func(event string) int {
		for i, e := range order {
			if e == event {
				return i
			}
		}
		t.Errorf("no event %q: %q", event, order)
		return -1
	}
	if at("end enqueue3") > at("end write1") || at("end write1") > at("begin write2") || at("end write1") > at("begin delete1") {
		t.Errorf("order %q", order)
	}
	r.requireWhole()
}

// wantEvent reads up to an event about an archive on one volume.
func wantEvent(t *testing.T, sub *progress.Subscription, kind progress.EventType, step string, number capstan.ArchiveNumber, volume string) {
	t.Helper()
	for {
		e, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, n, _, _ := capstan.ParseArchiveName(e.Archive)
		if e.Type == kind && e.Stage == step && n == number && e.Object == volume {
			return
		}
	}
}

// The staged file stays for as long as one volume lacks it.
func TestStagedFileStaysForTheLastVolume(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.fault("b", func(op disk.Op, path string, _ int) error {
		if isArchive(op, path) {
			return syscall.EIO
		}
		return nil
	})
	r.pack(1000, 2000)
	outcomes := r.bring(capstan.CopyWritten, capstan.CopyFailed)
	if outcomes[1].Problem == "" || outcomes[0].Archives != 2 {
		t.Errorf("%+v", outcomes)
	}
	if n := r.requireTrue("one volume fails"); n[0] != 2 || n[1] != 0 {
		t.Errorf("%d written", n)
	}
	for _, a := range r.archives() {
		if c := r.copyOf(a.Number, 1); c.State != capstan.CopyFailed || c.Attempts != 3 || !c.Retry.IsZero() || c.Problem == "" {
			t.Errorf("%+v", c)
		}
		if _, err := os.Stat(r.path("stage", a.Name)); err != nil {
			t.Error(err)
		}
	}
	r.requireSaid("attempt 2 of 3 failed, the next is in ")
	r.requireSaid("given up after 3 attempts")
	if err := r.catalog.SetStatus(t.Context(), r.set, capstan.RunComplete, capstan.Counts{}); err == nil {
		t.Error("the set is complete")
	}
	before := r.identities()
	r.fault("b", nil)
	r.complete()
	r.requireUntouched(before, "retried")
}

// One archive that cannot be written holds up no other.
func TestAFailingArchiveHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.pack(1000, 1000, 1000)
	bad := r.archives()[1].Name
	r.fault("a", func(op disk.Op, path string, _ int) error {
		if op == disk.OpSync && path == r.path("a", bad+".part") {
			return syscall.EIO
		}
		return nil
	})
	r.bring(capstan.CopyFailed, capstan.CopyWritten)
	if n := r.requireTrue("one archive fails"); n[0] != 2 || n[1] != 3 {
		t.Errorf("%d written", n)
	}
	if names := listDir(t, r.path("a", "")); len(names) != 3 {
		t.Errorf("on the volume: %q", names) // the owner and two archives: no end, nothing unfinished
	}
	r.fault("a", nil)
	r.complete()
}

// A fault at each operation on one volume in turn, once or from then on: the other
// volume gets all, nothing is said to be written that is not, and a later queue
// completes the first.
func TestFaultSweep(t *testing.T) {
	t.Parallel()
	for name, stay := range map[string]bool{"once": false, "from then on": true} {
		for _, attempts := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				template := sealed(t, 1000, 2000)
				for n := int64(1); faultAt(t, template, n, stay, attempts); n++ {
				}
			})
		}
	}
}

// faultAt reports whether there was an n-th operation.
func faultAt(t *testing.T, template string, n int64, stay bool, attempts int) (met bool) {
	t.Helper()
	r := copied(t, template)
	defer r.close()
	r.options.Attempts = attempts
	var count atomic.Int64
	at := ""
	r.fault("a", func(op disk.Op, _ string, _ int) error {
		k := count.Add(1)
		if k == n {
			at = string(op)
		}
		if k == n || stay && k > n {
			return syscall.EIO
		}
		return nil
	})
	outcomes := r.bring()
	if outcomes[1].State != capstan.CopyWritten || outcomes[1].Archives != 2 {
		t.Errorf("fault %d (%s): the other volume: %+v", n, at, outcomes[1])
	}
	written := r.requireTrue("fault at " + at)
	if outcomes[0].State == capstan.CopyWritten && written[0] != 2 {
		t.Errorf("fault %d (%s): %+v with %d archives", n, at, outcomes[0], written[0])
	}
	for _, a := range r.archives() {
		if c := r.copyOf(a.Number, 0); c.State != capstan.CopyWritten && c.State != capstan.CopyFailed || c.State == capstan.CopyFailed && (c.Problem == "" || !c.Retry.IsZero()) {
			t.Errorf("fault %d (%s): %+v", n, at, c)
		}
	}
	if !stay && attempts > 1 && outcomes[0].State != capstan.CopyWritten {
		t.Errorf("fault %d (%s): one fault, two attempts: %+v", n, at, outcomes[0])
	}
	r.fault("a", nil)
	before := r.identities()
	r.complete()
	r.requireUntouched(before, "completed after a fault at "+at)
	return count.Load() >= n
}

// A fault at each operation on the stage while the volumes read from it.
func TestStageFaultSweep(t *testing.T) {
	t.Parallel()
	template := sealed(t, 1000)
	for n := int64(1); ; n++ {
		r := copied(t, template)
		r.options.Attempts = 1
		var count atomic.Int64
		r.fault("stage", func(disk.Op, string, int) error {
			if count.Add(1) == n {
				return syscall.EIO
			}
			return nil
		})
		r.bring()
		r.requireTrue("a fault in the stage")
		r.fault("stage", nil)
		r.complete()
		r.close()
		if count.Load() < n {
			return
		}
	}
}

// What is damaged in the stage gets no name on a volume.
func TestDamagedInTheStage(t *testing.T) {
	t.Parallel()
	damages := map[string]func(data []byte) []byte{
		"a byte":  func(data []byte) []byte { data[700] ^= 1; return data },
		"shorter": func(data []byte) []byte { return data[:999] },
		"longer":  func(data []byte) []byte { return append(data, 0) },
		"empty":   func([]byte) []byte { return nil },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory(t))
			r.options.Attempts = 2
			r.pack(1000, 1000)
			path := r.path("stage", r.archives()[0].Name)
			good, err := os.ReadFile(path)
			r.must(err)
			r.must(os.WriteFile(path, damage(append([]byte(nil), good...)), 0o600))
			r.bring(capstan.CopyFailed, capstan.CopyFailed)
			r.requireSaid("is not what was packed")
			for i, name := range r.names {
				if r.state(1, i) != capstan.CopyFailed || r.state(2, i) != capstan.CopyWritten {
					t.Errorf("on %s: %s, %s", name, r.state(1, i), r.state(2, i))
				}
				if names := listDir(t, r.path(name, "")); len(names) != 2 {
					t.Errorf("on %s: %q", name, names)
				}
			}
			if _, err := os.Stat(path); err != nil { // a person may still want to look at it
				t.Error(err)
			}
			r.must(os.WriteFile(path, good, 0o600))
			r.complete()
		})
	}
}

// A failure of the catalog ends the queue: nothing that is done could be recorded.
func TestCatalogFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.pack(1000)
	r.fault("a", func(op disk.Op, _ string, _ int) error {
		if op == disk.OpSync {
			return r.catalog.Close()
		}
		return nil
	})
	r.start(t.Context())
	outcomes, err := r.queue.Drain()
	if err == nil || outcomes[0].State == capstan.CopyWritten {
		t.Errorf("%+v %v", outcomes, err)
	}
	r.must(r.stage.Close())
	r.next().complete()
}

// Who packs holds an entry writer of the set, which may fail or close at any moment:
// that is nothing to the copies.
func TestEntryWriterThatFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.pack(1000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := r.catalog.NewEntryWriter(ctx, r.set)
	_ = w.Add(ctx, []capstan.Entry{{Path: "a", Kind: capstan.KindFile, Outcome: capstan.OutcomeExcluded, Links: 1}}) // it fails now or later
	r.bring(capstan.CopyWritten, capstan.CopyWritten)
	_ = w.Close() // it has failed
	r.requireWhole()
}

// The queue may be stopped at any time, and taken up again.
func TestStopped(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	why := errors.New("packed again")
	r.pack(1000)
	r.start(t.Context())
	r.queue.Stop(why)
	r.requireTrue("stopped")
	r.complete()
}

// What went bad in the stage while one volume was away is taken from the other one.
func TestDamagedInTheStageAndWholeElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.options.Attempts = 1
	r.pack(1000, 1000)
	r.fault("b", func(disk.Op, string, int) error { return syscall.EIO })
	r.bring(capstan.CopyWritten, capstan.CopyFailed)
	r.fault("b", nil)
	r.must(os.WriteFile(r.path("stage", r.archives()[0].Name), make([]byte, 1000), 0o600))
	r.complete()
	r.requireSaid("it was taken from another volume")
}
