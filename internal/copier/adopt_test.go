package copier

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/disk"
)

const leaseForTests = time.Hour

// place puts a finished file on a volume that the catalog does not know of, as a
// process leaves it that is killed between the rename and the catalog's word.
func (r *rig) place(volume int, name string, data []byte) {
	r.t.Helper()
	ctx := r.t.Context()
	r.placed = true
	v, err := r.openVolume(r.names[volume], r.volumes[volume].Info.ID)
	r.must(err)
	r.must(v.ClaimSet(ctx, r.set, rigOwner))
	file, err := v.Create(ctx, r.set, name)
	r.must(err)
	_, err = file.Write(data)
	r.must(err)
	r.must(file.Commit(ctx))
}

func TestFinishedFileThatTheCatalogDoesNotKnow(t *testing.T) {
	t.Parallel()
	good := archiveContent(1, 1000)
	other := append([]byte(nil), good...)
	other[999] ^= 0x80
	tests := []struct {
		name  string
		data  []byte
		fault disk.FaultFunc
		kept  bool
	}{
		{"equal", good, nil, true},
		{"of the same size", other, nil, false},
		{"cut off", good[:500], nil, false},
		{"unreadable", good, func(op disk.Op, path string, _ int) error {
			if op == disk.OpRead && strings.HasSuffix(path, ".tar") {
				return syscall.EIO
			}
			return nil
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, memory(t))
			r.pack(1000)
			name := r.archives()[0].Name
			r.place(0, name, test.data)
			r.must(r.catalog.SetCopy(t.Context(), r.set, 1, r.volumes[0].Info.ID, capstan.CopyWriting, "", time.Now()))
			before, err := os.Stat(r.path("a", name))
			r.must(err)
			settled := false
			r.fault("a", func(op disk.Op, path string, n int) error {
				settled = settled || op == disk.OpSyncDir && path+"/" == r.path("a", "")+"/"
				if test.fault != nil {
					return test.fault(op, path, n)
				}
				return nil
			})
			r.bring(capstan.CopyWritten, capstan.CopyWritten)
			after, err := os.Stat(r.path("a", name))
			r.must(err)
			if kept := before.ModTime().Equal(after.ModTime()) && os.SameFile(before, after); kept != test.kept {
				t.Errorf("kept %t, want %t", kept, test.kept)
			}
			if !test.kept {
				r.requireSaid("it is written again")
			}
			if !settled {
				t.Error("its name was never made durable")
			}
			r.requireWhole()
		})
	}
}

// The stage is lost, the finished file is not: it needs no source.
func TestFinishedFileWithoutASource(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{true, false} {
		r := newRig(t, memory(t))
		r.pack(1000)
		a := r.archives()[0]
		data := archiveContent(1, 1000)
		if !whole {
			data[0] ^= 1
		}
		r.place(0, a.Name, data)
		r.must(r.stage.Remove(t.Context(), r.set, a.Name))
		if whole { // and the other volume gets it from there
			r.bring(capstan.CopyWritten)
			r.complete()
			continue
		}
		r.bring(capstan.CopyFailed, capstan.CopyFailed)
		if got, err := os.ReadFile(r.path("a", a.Name)); err != nil || hashOf(got) != hashOf(data) || r.state(1, 0) != capstan.CopyFailed {
			t.Errorf("what cannot be had again was touched: %v, %s", err, r.state(1, 0))
		}
	}
}

// Without a stage, archives come from a volume that has them.
func TestFromAnotherVolume(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.options.Attempts = 1
	r.pack(1000, 2*mib)
	r.fault("b", func(disk.Op, string, int) error { return syscall.EIO })
	r.bring(capstan.CopyWritten, capstan.CopyFailed)
	r.fault("b", nil)
	for _, a := range r.archives() {
		r.must(r.stage.Remove(t.Context(), r.set, a.Name))
	}
	r.options.Stage = nil
	r.must(r.catalog.Demand(t.Context(), r.set, r.volumes[1].Info.ID))
	r.volumes, r.names = r.volumes[1:], r.names[1:]
	r.fault("a", func(op disk.Op, _ string, _ int) error {
		if op == disk.OpRead {
			return syscall.EIO
		}
		return nil
	})
	r.bring(capstan.CopyFailed) // the only one that has it cannot be read
	r.fault("a", nil)
	r.must(r.catalog.Demand(t.Context(), r.set, r.volumes[0].Info.ID))
	r.bring(capstan.CopyWritten)
	r.requireWhole()
}

// A volume that does not open is tried again, and opened only once it does.
func TestVolumeThatOpensLater(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.pack(1000)
	failures := 2
	r.options.Open = func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
		if info.ID == r.volumes[0].Info.ID {
			if failures--; failures >= 0 {
				return nil, &capstan.Error{Op: "open volume", Object: "a", Err: errors.New("no answer"), Safe: "all is", Next: "run the job again"}
			}
		}
		return r.open(ctx, info)
	}
	r.bring(capstan.CopyWritten, capstan.CopyWritten)
	r.requireSaid("attempt 2 of 3 failed")
	r.requireSaid("open volume a: no answer")
	r.requireUnsaid("run the job again") // the run goes on by itself, or says what to do at its end
	r.requireWhole()
}

// A volume that never opens is given up, also for what is packed afterwards.
func TestVolumeThatNeverOpens(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.options.LeaseTime = leaseForTests
	tried := 0
	given := make(chan struct{}, 100)
	r.options.Open = func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
		if info.ID == r.volumes[0].Info.ID {
			tried++
			return nil, errors.New("no answer")
		}
		return r.open(ctx, info)
	}
	say := r.options.Say
	r.options.Say = func(format string, args ...any) {
		say(format, args...)
		if strings.Contains(format, "given up for this run") {
			given <- struct{}{}
		}
	}
	r.pack(1000)
	r.start(t.Context())
	<-given
	r.pack(1000, 1000)
	outcomes := r.drain(capstan.CopyFailed, capstan.CopyWritten)
	if tried != 3 || !strings.Contains(outcomes[0].Problem, "no answer") || outcomes[0].Archives != 0 || len(given) != 0 {
		t.Errorf("tried %d times: %+v", tried, outcomes[0])
	}
	for number := range capstan.ArchiveNumber(3) {
		if c := r.copyOf(number+1, 0); c.State != capstan.CopyFailed || c.Problem != outcomes[0].Problem || !c.Retry.IsZero() {
			t.Errorf("%+v", c)
		}
	}
	r.requireTrue("given up")
	r.options.Open = r.open
	r.complete()
}

// A set of that name that belongs to somebody else is not tried twice, nor touched.
func TestNameThatBelongsToAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	v, err := r.openVolume("a", r.volumes[0].Info.ID)
	r.must(err)
	r.must(v.ClaimSet(t.Context(), r.set, "somebody#else"))
	r.pack(1000)
	outcomes := r.bring(capstan.CopyFailed, capstan.CopyWritten)
	if names := listDir(t, r.path("a", "")); len(names) != 1 || !strings.Contains(outcomes[0].Problem, "taken") {
		t.Errorf("%+v, %q", outcomes[0], names)
	}
}

// The directory of a set is removed while it is being written: the next attempt
// claims it anew.
func TestDirectoryThatGoes(t *testing.T) {
	t.Parallel()
	r := newRig(t, memory(t))
	r.pack(1000)
	gone := false
	r.fault("a", func(op disk.Op, _ string, _ int) error {
		if op == disk.OpWrite && !gone && len(listDir(t, r.path("a", ""))) > 1 {
			gone = true
			return os.RemoveAll(r.path("a", ""))
		}
		return nil
	})
	r.bring(capstan.CopyWritten, capstan.CopyWritten)
	if !gone {
		t.Error("it was never removed")
	}
	r.requireWhole()
}
