package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/disk"
)

// mount gives an empty filesystem of a size in memory.
func mount(t *testing.T, dir, size string) {
	t.Helper()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() {
		for unix.Unmount(dir, unix.MNT_DETACH) == nil { // the test may have mounted again
		}
	})
}

// fill leaves no byte of a filesystem.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

// The disk fills up in the middle of an archive: Write waits, says for what, and
// goes on where it was when there is room.
func TestFullDiskIsAWait(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, s *Stage) error{
		"another program frees room": func(_ *testing.T, s *Stage) error { return os.Remove(s.area("theirs")) },
		"an archive reached its volume": func(t *testing.T, s *Stage) error {
			return s.Remove(t.Context(), setTwo, nameTwo)
		},
	}
	for name, free := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			mount(t, path, "4m")
			w := waits{begun: make(chan struct{}, 10)}
			s := open(t, path, Options{Quota: 64 * capstan.MiB, Wait: w.hook})
			seal(t, s, setTwo, nameTwo, pattern(1<<20))
			file := begin(t, s, setOne, nameOne, reserve(t, s, capstan.MiB))
			content := pattern(1 << 20)
			write(t, file, content[:100_000])
			fill(t, filepath.Join(path, "theirs"))
			var group sync.WaitGroup
			group.Go(func() {
				<-w.begun
				if err := free(t, s); err != nil {
					t.Error(err)
				}
			})
			write(t, file, content[100_000:])
			group.Wait()
			if err := file.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := load(t, s, setOne, nameOne); !same(got, content) {
				t.Errorf("%d bytes that are not the %d written", len(got), len(content))
			}
			said, open := w.all()
			if len(said) != 1 || open != 0 || !strings.HasPrefix(said[0], "space: ") || !strings.Contains(said[0], "its filesystem has") ||
				!strings.Contains(said[0], nameOne) || !strings.Contains(said[0], "set 2026-11_000002 1.0 MiB in 1 files") {
				t.Errorf("declared %q, %d open", said, open)
			}
		})
	}
}

// The system itself says that the disk is full, in the middle of a write, and
// statfs does not know it (a quota of the user): the bytes before are kept.
func TestFullDiskInTheMiddleOfAWrite(t *testing.T) {
	t.Parallel()
	w := waits{begun: make(chan struct{}, 10)}
	var mu sync.Mutex
	full, tries := true, 0
	s := open(t, t.TempDir(), Options{Quota: 64 * capstan.MiB, Wait: w.hook, FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, path string, n int) error {
		mu.Lock()
		defer mu.Unlock()
		if op != disk.OpWrite || filepath.Base(path) != nameOne || !full {
			return nil
		}
		tries++
		if tries == 1 {
			return &disk.ShortWrite{N: n / 3, Err: unix.EDQUOT}
		}
		return unix.EDQUOT
	})}})
	file := begin(t, s, setOne, nameOne, nil)
	content := pattern(300_000)
	var group sync.WaitGroup
	group.Go(func() {
		<-w.begun
		mu.Lock()
		full = false
		mu.Unlock()
	})
	write(t, file, content)
	group.Wait()
	if err := file.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := load(t, s, setOne, nameOne); !same(got, content) {
		t.Errorf("%d bytes that are not the %d written", len(got), len(content))
	}
	if said, open := w.all(); len(said) != 1 || open != 0 {
		t.Errorf("declared %q, %d open: one wait, however often it is tried again", said, open)
	}
}

// A full disk that stays full ends with the context, and the file is taken back.
func TestFullDiskIsCancelled(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mount(t, path, "4m")
	why := errors.New("cancelled by the watchdog")
	ctx, cancel := contextWithCause(t)
	w := waits{then: func() { cancel(why) }}
	s := open(t, path, Options{Quota: 64 * capstan.MiB, Wait: w.hook})
	if err := s.ClaimSet(ctx, setOne); err != nil {
		t.Fatal(err)
	}
	file, err := s.Create(ctx, setOne, nameOne, reserve(t, s, capstan.MiB))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(path, "theirs"))
	if _, err := file.Write(make([]byte, capstan.MiB)); !errors.Is(err, why) {
		t.Errorf("write: %v", err)
	}
	if err := file.Commit(t.Context()); !errors.Is(err, why) {
		t.Errorf("commit: %v", err)
	}
	if u := usage(t, s); u.Used != 0 {
		t.Errorf("%+v", u)
	}
	if got := tree(t, s.area(tempArea)) + tree(t, s.area(finalArea)); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// On a disk without a free byte room can still be given back, for the record of
// an owner is written in place.
func TestReleaseOnAFullDisk(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mount(t, path, "4m")
	s := open(t, path, Options{Quota: 64 * capstan.MiB})
	other := open(t, path, Options{Quota: 64 * capstan.MiB})
	var rooms []*Reservation
	for range 20 {
		rooms = append(rooms, reserve(t, s, 1000))
	}
	fill(t, filepath.Join(path, "theirs"))
	for _, r := range rooms[1:] {
		release(t, r)
	}
	if u := usage(t, other); u.Held != 1000 {
		t.Errorf("the other owner does not know: %+v", u)
	}
	for n := range 400 { // more than what was given back
		if err := s.ClaimSet(t.Context(), capstan.SetID(fmt.Sprintf("2026-11_%06d", n))); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk without room for a name is waited for like one without room for bytes.
func TestFullDiskAroundTheWrites(t *testing.T) {
	t.Parallel()
	for _, op := range []disk.Op{disk.OpMkdir, disk.OpCreate, disk.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			w := waits{begun: make(chan struct{}, 10)}
			var mu sync.Mutex
			full, refused := false, 0
			s := open(t, t.TempDir(), Options{Quota: capstan.MiB, Wait: w.hook, FS: disk.FS{Faults: disk.FaultFunc(func(at disk.Op, path string, _ int) error {
				mu.Lock()
				defer mu.Unlock()
				if !full || at != op {
					return nil
				}
				refused++
				return unix.ENOSPC
			})}})
			if err := s.ClaimSet(t.Context(), setOne); err != nil {
				t.Fatal(err)
			}
			full = true
			var group sync.WaitGroup
			group.Go(func() {
				<-w.begun
				mu.Lock()
				full = false
				mu.Unlock()
			})
			seal(t, s, setOne, nameOne, "content")
			group.Wait()
			if got := load(t, s, setOne, nameOne); got != "content" || refused == 0 {
				t.Errorf("%q after %d refusals", got, refused)
			}
			if said, open := w.all(); len(said) != 1 || open != 0 || !strings.HasPrefix(said[0], "space: ") {
				t.Errorf("declared %q, %d open", said, open)
			}
		})
	}
}

// The reserve is kept, whoever else writes; what the filesystem could never
// hold is refused.
func TestReserveIsKept(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mount(t, path, "4m")
	w := waits{begun: make(chan struct{}, 10)}
	s := open(t, path, Options{Quota: 64 * capstan.MiB, Reserve: capstan.MiB, Wait: w.hook})
	for _, n := range []capstan.Bytes{3*capstan.MiB + 1, 5 * capstan.MiB} {
		if _, err := s.Reserve(t.Context(), n); !errors.Is(err, capstan.ErrNoSpace) || !strings.Contains(err.Error(), "whole filesystem") {
			t.Errorf("%s: %v", n, err)
		}
	}
	held := reserve(t, s, 2*capstan.MiB)
	granted := make(chan *Reservation)
	go func() { granted <- reserve(t, s, 1500*capstan.KiB) }()
	<-w.begun // the filesystem has it, but it is promised
	release(t, held)
	second := <-granted
	said, _ := w.all()
	if len(said) != 1 || !strings.Contains(said[0], "1.0 MiB are kept in reserve and 2.0 MiB are promised already") {
		t.Errorf("declared %q", said)
	}
	// While the archive is written, another program eats into the reserve.
	file := begin(t, s, setOne, nameOne, second)
	put(t, filepath.Join(path, "theirs"), strings.Repeat("x", 3<<20))
	done := make(chan error)
	go func() {
		_, err := file.Write(make([]byte, 500_000))
		done <- err
	}()
	<-w.begun
	free, err := s.disk.Free(path)
	if err != nil || free < 900*capstan.KiB {
		t.Errorf("%s are free, %v", free, err)
	}
	if err := os.Remove(filepath.Join(path, "theirs")); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := file.Write(make([]byte, 4<<20)); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("larger than the filesystem: %v", err)
	}
	if err := file.Abort(); err != nil {
		t.Error(err)
	}
}

// Sealing by a rename must not become a copy.
func TestMountsWithinAreRefused(t *testing.T) {
	t.Parallel()
	bind := func(area string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			dir := filepath.Join(path, area)
			if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
				t.Fatalf("bind mount (needs root): %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		}
	}
	tests := map[string][]func(t *testing.T, path string){
		"temp is a bind mount":     {bind(tempArea)},
		"final is a bind mount":    {bind(finalArea)},
		"both are":                 {bind(tempArea), bind(finalArea)},
		"final is on another disk": {func(t *testing.T, path string) { mount(t, filepath.Join(path, finalArea), "1m") }},
	}
	for name, mounts := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			s := open(t, path, Options{Quota: capstan.MiB})
			seal(t, s, setOne, nameOne, "before")
			for _, m := range mounts {
				m(t, path)
			}
			_, err := Open(t.Context(), path, Options{Quota: capstan.MiB})
			if e, ok := errors.AsType[*capstan.Error](err); !ok || !errors.Is(err, capstan.ErrRefused) || !strings.Contains(e.Next, "--stage") {
				t.Errorf("open: %v", err)
			}
			// Who opened it before cannot seal any more, and says so.
			file := begin(t, s, setTwo, nameTwo, nil)
			write(t, file, "x")
			if err := file.Commit(t.Context()); !errors.Is(err, capstan.ErrRefused) {
				t.Errorf("commit: %v", err)
			}
			if got := tree(t, s.area(tempArea)) + tree(t, s.area(finalArea)); strings.Contains(got, nameTwo) {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

// A stage whose disk is unmounted is not made anew on the filesystem below.
func TestGone(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, path string){
		"unmounted": func(t *testing.T, path string) {
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
		},
		"covered by another disk": func(t *testing.T, path string) { mount(t, path, "1m") },
		"covered by another stage": func(t *testing.T, path string) {
			mount(t, path, "1m")
			put(t, filepath.Join(path, markerName), `{"format":1,"id":"ANOTHER"}`)
		},
		"covered by a copy of the stage": func(t *testing.T, path string) {
			marker, err := os.ReadFile(filepath.Join(path, markerName))
			if err != nil {
				t.Fatal(err)
			}
			mount(t, path, "1m")
			put(t, filepath.Join(path, markerName), string(marker))
		},
		"its marker deleted": func(t *testing.T, path string) {
			if err := os.Remove(filepath.Join(path, markerName)); err != nil {
				t.Fatal(err)
			}
		},
		"its directories deleted": func(t *testing.T, path string) {
			for _, area := range []string{tempArea, finalArea, ledgerArea} {
				if err := os.RemoveAll(filepath.Join(path, area)); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	for name, vanish := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			mount(t, path, "4m")
			s, err := Open(t.Context(), path, Options{Quota: capstan.MiB, Reserve: -1})
			if err != nil {
				t.Fatal(err)
			}
			seal(t, s, setOne, nameOne, "sealed")
			room := reserve(t, s, 100)
			file := begin(t, s, setOne, nameTwo, nil)
			write(t, file, "12345678")
			vanish(t, path)
			before := tree(t, path)
			if err := file.Commit(t.Context()); !errors.Is(err, ErrGone) || !errors.Is(err, capstan.ErrRefused) {
				t.Errorf("commit: %v", err)
			}
			_, reserveErr := s.Reserve(t.Context(), 1)
			_, usageErr := s.Usage(t.Context())
			_, reconcileErr := s.Reconcile(t.Context(), keepAll)
			_, createErr := s.Create(t.Context(), setOne, nameTwo, room)
			for i, err := range []error{reserveErr, usageErr, reconcileErr, createErr, s.ClaimSet(t.Context(), setTwo)} {
				if !errors.Is(err, ErrGone) || !errors.Is(err, capstan.ErrRefused) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("call %d: %v", i, err)
				}
			}
			if err := room.Release(t.Context()); err != nil {
				t.Errorf("release: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			after := tree(t, path)
			if name != "its marker deleted" && after != before || strings.Contains(after, nameTwo+"=") && strings.Contains(after, "final/"+string(setOne)+"/"+nameTwo) {
				t.Errorf("%s became %s", before, after)
			}
			if name == "unmounted" {
				if _, err := Open(t.Context(), path, Options{Known: s.ID()}); !errors.Is(err, capstan.ErrRefused) || tree(t, path) != "" {
					t.Errorf("open: %v, %s", err, tree(t, path))
				}
			}
		})
	}
}
