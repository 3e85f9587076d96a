package dir

import (
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

// journey is the life of a volume in which the sweeps fail one step.
func journey(t *testing.T, path string, faults disk.Faults, committed *bool) error {
	*committed = false
	v, err := Open(path, Options{Create: true, Catalog: "home", FS: disk.FS{Faults: faults}})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	file, err := v.Create(t.Context(), testSet, testName)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	for part := range 3 {
		_, err := io.WriteString(file, sweepContent[part*14:part*14+14])
		if err != nil {
			return errors.Join(fmt.Errorf("write: %w", err), file.Abort())
		}
	}
	if err := file.Commit(t.Context()); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	*committed = true
	return nil
}

// Every operation fails, once or from then on: whatever is not confirmed is not
// there, whatever is confirmed is there whole, and the next run goes on.
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
	path := filepath.Join(t.TempDir(), "volume")
	count := 0
	var failed disk.Op
	var committed bool
	err := journey(t, path, disk.FaultFunc(func(op disk.Op, _ string, _ int) error {
		count++
		if count == n+1 {
			failed = op
		}
		if count == n+1 || stay && count > n {
			return fault
		}
		return nil
	}), &committed)
	if count <= n {
		if err != nil {
			t.Errorf("without a fault: %v", err)
		}
		return false
	}
	where := fmt.Sprintf("fault %d (%s)", n, failed)
	if !errors.Is(err, fault) {
		t.Errorf("%s: the journey gives %v", where, err)
	}
	if errors.Is(fault, syscall.ENOSPC) != errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("%s: class of %v", where, err)
	}
	final := filepath.Join(path, string(testSet), testName)
	content, readErr := os.ReadFile(final)
	if readErr == nil && !committed {
		// Only a disk that takes nothing any more can keep it, and the error says so.
		if !stay || !strings.Contains(err.Error(), "not safe") || string(content) != sweepContent {
			t.Errorf("%s: %q is there after %v", where, content, err)
		}
		if err := os.Remove(final); err != nil {
			t.Fatal(err)
		}
	}
	goOn(t, path, where)
	return true
}

// goOn is the next run: it must find a volume it can use, and no ruin in the way.
func goOn(t *testing.T, path, where string) {
	t.Helper()
	v, err := Open(path, Options{Create: true, Catalog: "home"})
	if err != nil {
		t.Fatalf("%s: open again: %v", where, err)
	}
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatalf("%s: claim again: %v", where, err)
	}
	if _, err := v.Discard(t.Context(), testSet); err != nil {
		t.Fatalf("%s: discard: %v", where, err)
	}
	store(t, v, testSet, testName, sweepContent)
	if got := load(t, v, testSet, testName); got != sweepContent {
		t.Errorf("%s: read %q", where, got)
	}
	if err := v.Remove(t.Context(), testSet, testName); err != nil {
		t.Errorf("%s: remove: %v", where, err)
	}
	if left := tree(t, filepath.Join(path)); strings.Contains(left, string(testSet)) {
		t.Errorf("%s: left behind: %s", where, left)
	}
}

// The fault sweep of removal: a set goes wholly or can be removed again.
func TestFaultSweepOfRemove(t *testing.T) {
	t.Parallel()
	for n := 0; ; n++ {
		path := t.TempDir()
		count, armed := 0, false
		v := open(t, path, Options{Create: true, Catalog: "home", FS: disk.FS{Faults: disk.FaultFunc(func(disk.Op, string, int) error {
			if !armed {
				return nil
			}
			if count++; count > n {
				return syscall.EIO
			}
			return nil
		})}})
		if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
			t.Fatal(err)
		}
		store(t, v, testSet, testName, "x")
		armed = true
		err := v.Remove(t.Context(), testSet, testName)
		armed = false
		if count <= n {
			if err != nil {
				t.Errorf("without a fault: %v", err)
			}
			return
		}
		if err == nil {
			t.Errorf("fault %d was swallowed", n)
		}
		if err := v.Remove(t.Context(), testSet, testName); err != nil {
			t.Errorf("fault %d: again: %v", n, err)
		}
		if sets, err := v.Sets(t.Context()); len(sets) != 0 || err != nil {
			t.Errorf("fault %d: sets %v, %v", n, sets, err)
		}
		goOn(t, path, fmt.Sprintf("fault %d", n))
	}
}

// Nothing is confirmed before content and name are on the medium, in this order.
func TestOrderOfCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "volume")
	var steps []string
	var committed bool
	err := journey(t, path, disk.FaultFunc(func(op disk.Op, at string, _ int) error {
		if op != disk.OpStat && op != disk.OpRead && op != disk.OpOpen && op != disk.OpFree && op != disk.OpWrite {
			steps = append(steps, string(op)+" "+strings.TrimPrefix(at, path))
		}
		return nil
	}), &committed)
	if err != nil {
		t.Fatal(err)
	}
	set := "/" + string(testSet)
	part := set + "/" + testName + partSuffix
	want := []string{"remove " + part, "create " + part, "sync " + part, "close " + part, "rename " + part, "sync directory " + set}
	if got := steps[len(steps)-len(want):]; !slices.Equal(got, want) {
		t.Errorf("steps %q\nwant  %q", got, want)
	}
	// The set's directory bears its name only when its owner is durable in it.
	claim := steps[:len(steps)-len(want)]
	rename := slices.IndexFunc(claim, func(s string) bool {
		return strings.HasPrefix(s, "rename /.capstan-claim-") && !strings.Contains(s, ownerName)
	})
	if rename < 1 || !strings.HasPrefix(claim[rename-1], "sync directory /.capstan-claim-") || claim[rename+1] != "sync directory " {
		t.Errorf("claim %q", claim)
	}
}

// Some filesystems find out at the closing that the medium is full, cut the
// file and say nothing.
func TestFileCutAtClose(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	var committed bool
	err := journey(t, path, disk.FaultFunc(func(op disk.Op, at string, _ int) error {
		if op == disk.OpClose && strings.HasSuffix(at, testName+partSuffix) {
			return os.Truncate(at, 7)
		}
		return nil
	}), &committed)
	if !errors.Is(err, capstan.ErrDamaged) || committed {
		t.Errorf("committed a file that was cut: %v", err)
	}
	if got := tree(t, filepath.Join(path, string(testSet))); strings.Contains(got, testName) {
		t.Errorf("left behind: %s", got)
	}
}
