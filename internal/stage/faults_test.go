package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"capstan"
	"capstan/internal/disk"
)

const sweepContent = "the content of an archive, in three writes"

// progress is how far a journey came, by what it was told.
type progress struct{ sealed, removing, removed bool }

// journey is the life of an archive in the stage, in which the sweeps fail one step.
func journey(ctx context.Context, path string, o Options, got *progress) (err error) {
	*got = progress{}
	o.Quota, o.Reserve = 1000, -1
	s, err := Open(ctx, path, o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := s.Reconcile(ctx, keepAll); err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	if err := s.ClaimSet(ctx, setOne); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	room, err := s.Reserve(ctx, 30) // less than is written
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	file, err := s.Create(ctx, setOne, nameOne, room)
	if err != nil {
		return errors.Join(fmt.Errorf("create: %w", err), room.Release(ctx))
	}
	for part := range 3 {
		if _, err := io.WriteString(file, sweepContent[part*14:part*14+14]); err != nil {
			return errors.Join(fmt.Errorf("write: %w", err), file.Abort())
		}
	}
	if err := file.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	got.sealed = true
	if err := s.LeaveSet(ctx, setOne); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	got.removing = true
	if err := s.Remove(ctx, setOne, nameOne); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	got.removed = true
	return nil
}

// goOn is the next run: it finds a stage that it can use, with nothing held, and
// in final either nothing or a whole archive, as the journey was told.
func goOn(t *testing.T, path, where string, got progress) {
	t.Helper()
	s, err := Open(t.Context(), path, Options{Quota: 1000, Reserve: -1})
	if err != nil {
		t.Fatalf("%s: open: %v", where, err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", where, err)
		}
		entries, err := os.ReadDir(filepath.Join(path, ledgerArea))
		if len(entries) != 1 || err != nil {
			t.Errorf("%s: left in the ledger: %v, %v", where, entries, err)
		}
	}()
	report, err := s.Reconcile(t.Context(), keepAll)
	if err != nil {
		t.Fatalf("%s: reconcile: %v", where, err)
	}
	files, err := s.List(t.Context(), setOne)
	if err != nil || len(files) > 1 || len(files) != len(report.Kept) ||
		got.removed && len(files) > 0 || got.sealed && !got.removing && len(files) == 0 {
		t.Errorf("%s: after %+v there are %v, %v", where, got, files, err)
	}
	size := capstan.Bytes(0)
	for _, file := range files {
		if content := load(t, s, setOne, file.Name); content != sweepContent {
			t.Errorf("%s: sealed %q", where, content)
		}
		size += capstan.Bytes(file.Size)
	}
	if u := usage(t, s); u.Used != size || u.Sealed != size {
		t.Errorf("%s: %+v", where, u)
	}
	if err := s.Remove(t.Context(), setOne, nameOne); err != nil {
		t.Errorf("%s: remove: %v", where, err)
	}
	seal(t, s, setOne, nameOne, sweepContent)
	if content := load(t, s, setOne, nameOne); content != sweepContent {
		t.Errorf("%s: %q", where, content)
	}
	if err := s.Remove(t.Context(), setOne, nameOne); err != nil {
		t.Errorf("%s: remove: %v", where, err)
	}
	if left := tree(t, path); left != "/capstan-stage.json\n/final\n/temp\n" {
		t.Errorf("%s: left behind: %s", where, left)
	}
}

// Every operation fails, once or from then on. What is not confirmed is not
// there, what is confirmed is there whole, nothing stays held, and the next run
// goes on.
func TestFaultSweep(t *testing.T) {
	t.Parallel()
	faults := map[string]error{
		"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC, "short": &disk.ShortWrite{N: 5, Err: syscall.ENOSPC},
	}
	for name, fault := range faults {
		for _, stay := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s stay=%v", name, stay), func(t *testing.T) {
				t.Parallel()
				for n := 0; sweepOne(t, n, fault, stay); n++ {
				}
			})
		}
	}
}

func sweepOne(t *testing.T, n int, fault error, stay bool) (fired bool) {
	path := filepath.Join(memory(t), "stage")
	count := 0
	var failed disk.Op
	why := errors.New("the disk stays full")
	ctx, cancel := contextWithCause(t)
	defer cancel(nil)
	var w waits
	w.then = func() {
		if stay {
			cancel(why)
		}
	}
	var got progress
	err := journey(ctx, path, Options{Wait: w.hook, FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, _ string, _ int) error {
		count++
		if count == n+1 {
			failed = op
		}
		if count == n+1 || stay && count > n {
			return fault
		}
		return nil
	})}}, &got)
	if count <= n {
		if err != nil {
			t.Errorf("without a fault: %v", err)
		}
		return false
	}
	where := fmt.Sprintf("fault %d (%s)", n, failed)
	said, open := w.all()
	waited := len(said) > 0 && errors.Is(fault, syscall.ENOSPC)
	if open != 0 {
		t.Errorf("%s: %d waits are open", where, open)
	}
	switch {
	case waited && stay:
		if !errors.Is(err, why) {
			t.Errorf("%s: waited for %q, then %v", where, said, err)
		}
	case waited || got.removed: // a wait that ended, or what the ledger learned later
		if err != nil && !got.removed {
			t.Errorf("%s: waited for %q, then %v", where, said, err)
		}
	case !errors.Is(err, fault):
		t.Errorf("%s: the journey gives %v", where, err)
	}
	final := filepath.Join(path, finalArea, string(setOne), nameOne)
	content, readErr := os.ReadFile(final)
	if readErr == nil && !got.sealed {
		// Only a disk that takes nothing any more can keep it, and the error says so.
		if !stay || !strings.Contains(err.Error(), "not safe") || string(content) != sweepContent {
			t.Errorf("%s: %q is there after %v", where, content, err)
		}
	}
	goOn(t, path, where, got)
	return true
}

// Nothing is confirmed before content and names are on the medium, in this order.
func TestOrderOfCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(memory(t), "stage")
	var steps []string
	var got progress
	err := journey(t.Context(), path, Options{FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, at string, _ int) error {
		at = strings.TrimPrefix(at, path)
		changes := slices.Contains([]disk.Op{disk.OpSync, disk.OpClose, disk.OpRename, disk.OpSyncDir, disk.OpRemove}, op)
		if changes && !strings.HasPrefix(at, "/"+ledgerArea) {
			steps = append(steps, string(op)+" "+at)
		}
		return nil
	})}}, &got)
	if err != nil {
		t.Fatal(err)
	}
	temp, final := "/temp/"+string(setOne), "/final/"+string(setOne)
	want := strings.Join([]string{
		"sync " + temp + "/" + nameOne, "close " + temp + "/" + nameOne, "sync directory /final", // for the set's directory
		"rename " + temp + "/" + nameOne, "sync directory " + final, "sync directory /final", "sync directory " + temp,
	}, "\n")
	if got := strings.Join(steps, "\n"); !strings.Contains(got, want) {
		t.Errorf("steps\n%s\nwant\n%s", got, want)
	}
	want = "remove " + final + "/" + nameOne + "\nsync directory " + final + "\nremove " + final
	if got := strings.Join(steps, "\n"); !strings.Contains(got, want) {
		t.Errorf("steps\n%s\nwant\n%s", got, want)
	}
}

// Some filesystems find out at the closing that the medium is full, cut the file
// and say nothing.
func TestFileCutAtClose(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	var got progress
	err := journey(t.Context(), path, Options{FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, at string, _ int) error {
		if op == disk.OpClose && filepath.Base(at) == nameOne {
			return os.Truncate(at, 7)
		}
		if op == disk.OpRename && filepath.Base(at) == nameOne {
			t.Error("it got its final name")
		}
		return nil
	})}}, &got)
	if !errors.Is(err, capstan.ErrDamaged) || got.sealed {
		t.Errorf("sealed a file that was cut: %v", err)
	}
	if left := tree(t, filepath.Join(path, tempArea)); left != "" || strings.Contains(err.Error(), "closed") {
		t.Errorf("left %s after %v", left, err)
	}
	goOn(t, path, "cut at close", got)
}

// An archive is removed in the very moment in which the next of its set needs the
// set's directories: they stay.
func TestDirectoriesStayWhileTheyAreNeeded(t *testing.T) {
	t.Parallel()
	for _, op := range []disk.Op{disk.OpCreate, disk.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			var s *Stage
			removed := false
			s = open(t, t.TempDir(), Options{Quota: 1000, FS: disk.FS{Faults: disk.FaultFunc(func(at disk.Op, path string, _ int) error {
				if at != op || filepath.Base(path) != nameTwo {
					return nil
				}
				removed = true
				return s.Remove(t.Context(), setOne, nameOne)
			})}})
			seal(t, s, setOne, nameOne, "one")
			seal(t, s, setOne, nameTwo, "two")
			if got := load(t, s, setOne, nameTwo); got != "two" || !removed {
				t.Errorf("%q, removed %v", got, removed)
			}
		})
	}
}

// What could not be entered into the ledger is not granted, and not held.
func TestGrantThatCannotBeTold(t *testing.T) {
	t.Parallel()
	broken := false
	path := t.TempDir()
	other := open(t, path, Options{Quota: 1000})
	s := open(t, path, Options{Quota: 1000, FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, at string, _ int) error {
		if broken && op == disk.OpWrite && strings.HasSuffix(at, recordSuffix) {
			return syscall.EIO
		}
		return nil
	})}})
	file := begin(t, s, setOne, nameOne, reserve(t, s, 100))
	broken = true
	if _, err := s.Reserve(t.Context(), 200); !errors.Is(err, syscall.EIO) {
		t.Errorf("reserve: %v", err)
	}
	if err := s.ClaimSet(t.Context(), setTwo); !errors.Is(err, syscall.EIO) {
		t.Errorf("claim: %v", err)
	}
	if _, err := file.Write(make([]byte, 300)); !errors.Is(err, syscall.EIO) {
		t.Errorf("growth: %v", err)
	}
	broken = false
	for who, stage := range map[string]*Stage{"itself": s, "the other": other} {
		if u := usage(t, stage); u.Held != 100 {
			t.Errorf("%s: %+v", who, u)
		}
	}
	if err := other.ClaimSet(t.Context(), setTwo); err != nil {
		t.Errorf("claim by the other: %v", err)
	}
	if err := file.Abort(); err != nil {
		t.Error(err)
	}
}

// A dead owner's file could not be removed, and somebody else has taken its set
// since: what is written there now is not the dead one's any more.
func TestLateBurial(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	dying, err := Open(t.Context(), path, Options{Quota: 1000, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	write(t, begin(t, dying, setOne, nameOne, nil), "the dead one's")
	broken, looked := true, ""
	s := open(t, path, Options{Quota: 1000, FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, at string, _ int) error {
		if broken && op == disk.OpRemove && at == looked { // a burial; Create removes without looking
			return syscall.EIO
		}
		if looked = ""; op == disk.OpStat {
			looked = at
		}
		return nil
	})}})
	if err := dying.Close(); err != nil {
		t.Error(err)
	}
	if err := s.ClaimSet(t.Context(), setOne); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.file(tempArea, setOne, nameOne)); err != nil {
		t.Fatal(err)
	}
	file := begin(t, s, setOne, nameOne, nil)
	write(t, file, "the living one's")
	broken = false
	if u := usage(t, s); u.Held != 16 || u.Stray != 0 {
		t.Errorf("%+v", u)
	}
	if err := file.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := load(t, s, setOne, nameOne); got != "the living one's" {
		t.Errorf("%q", got)
	}
}
