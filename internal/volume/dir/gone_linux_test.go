package dir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/disk"
)

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

// A disk that is unmounted between two runs must not be looked for, or written
// to, on the filesystem below its mount point.
func TestUnmountedBetweenRuns(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mount(t, path, "64m")
	v := open(t, path, Options{Create: true, Catalog: "home"})
	id := v.Info().ID
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	store(t, v, testSet, testName, "x")
	if err := unix.Unmount(path, 0); err != nil { // not even lazily: nothing is held open
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Create: true, Catalog: "home", Known: id}); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("open: %v", err)
	}
	// The volume that was opened before knows too.
	_, createErr := v.Create(t.Context(), testSet, "DELETED")
	_, openErr := v.Open(t.Context(), testSet, testName)
	_, listErr := v.List(t.Context(), testSet)
	_, setsErr := v.Sets(t.Context())
	_, freeErr := v.Free(t.Context())
	_, discardErr := v.Discard(t.Context(), testSet)
	for i, err := range []error{
		createErr, openErr, listErr, setsErr, freeErr, discardErr,
		v.ClaimSet(t.Context(), "2026-11_000002", "home"), v.Remove(t.Context(), testSet, testName),
	} {
		if !errors.Is(err, ErrGone) || !errors.Is(err, capstan.ErrRefused) || errors.Is(err, os.ErrNotExist) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if got := tree(t, path); got != "" {
		t.Errorf("below the mount point: %s", got)
	}
}

// The directory is taken away while an archive is being written.
func TestGoneWhileWriting(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, path string){
		"unmounted": func(t *testing.T, path string) {
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
		},
		"covered by another disk": func(t *testing.T, path string) { mount(t, path, "1m") },
		"covered by a copy of the volume": func(t *testing.T, path string) {
			marker, err := os.ReadFile(filepath.Join(path, markerName))
			if err != nil {
				t.Fatal(err)
			}
			mount(t, path, "1m")
			put(t, filepath.Join(path, markerName), string(marker))
			put(t, filepath.Join(path, string(testSet), ownerName), `{"format":1,"set":"2026-11_000001","owner":"home"}`)
			put(t, filepath.Join(path, string(testSet), testName+partSuffix), "12345678")
		},
		"the set's directory moved away": func(t *testing.T, path string) {
			if err := os.Rename(filepath.Join(path, string(testSet)), filepath.Join(path, "moved")); err != nil {
				t.Fatal(err)
			}
		},
		"the marker deleted": func(t *testing.T, path string) {
			if err := os.Remove(filepath.Join(path, markerName)); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, vanish := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			mount(t, path, "64m")
			v := open(t, path, Options{Create: true, Catalog: "home"})
			if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
				t.Fatal(err)
			}
			file, err := v.Create(t.Context(), testSet, testName)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(file, "12345678"); err != nil {
				t.Fatal(err)
			}
			vanish(t, path)
			before := tree(t, path)
			if err := file.Commit(t.Context()); !errors.Is(err, ErrGone) {
				t.Errorf("commit: %v", err)
			}
			after := tree(t, path)
			if name != "the marker deleted" && after != before {
				t.Errorf("%s became %s", before, after)
			}
			if strings.Contains(after, testName+"=") {
				t.Errorf("a finished file appeared: %s", after)
			}
		})
	}
}

func TestReserve(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mount(t, path, "4m")
	v := open(t, path, Options{Create: true, Catalog: "home"})
	if v.reserve != 512*capstan.KiB {
		t.Errorf("reserve %s of a filesystem of 4 MiB", v.reserve)
	}
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	file, err := v.Create(t.Context(), testSet, testName)
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for range 1000 {
		var n int
		n, err = file.Write(make([]byte, 10_000))
		if written += n; err != nil {
			break
		}
	}
	if !errors.Is(err, capstan.ErrNoSpace) || errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("over the reserve: %v", err)
	}
	if free, err := v.disk.Free(path); err != nil || free < 512*capstan.KiB || written < 3<<20 {
		t.Errorf("%d written, %s left, %v", written, free, err)
	}
	if free, err := v.Free(t.Context()); err != nil || free > 10_000 {
		t.Errorf("free %s, %v", free, err)
	}
	// What the reserve is for.
	store(t, v, testSet, "SHA256SUMS", strings.Repeat("x", 100_000))
	if err := file.Commit(t.Context()); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("commit after a refused write: %v", err)
	}
	if free, err := v.Free(t.Context()); err != nil || free < 3*capstan.MiB {
		t.Errorf("the room was not given back: %s, %v", free, err)
	}
}

// A disk that is full before the reserve is noticed: other writers, or none kept.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mount(t, path, "4m")
	v := open(t, path, Options{Create: true, Catalog: "home", Reserve: -1})
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	file, err := v.Create(t.Context(), testSet, "manifest.json.zst")
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 300_000))
	}
	if !errors.Is(err, capstan.ErrNoSpace) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write: %v", err)
	}
	if err := v.ClaimSet(t.Context(), "2026-11_000002", "home"); err != nil && !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("claim on a full disk: %v", err)
	}
	if err := file.Commit(t.Context()); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("commit: %v", err)
	}
	if files, err := v.List(t.Context(), testSet); len(files) != 0 || err != nil {
		t.Errorf("files %v, %v", files, err)
	}
	store(t, v, testSet, "manifest.json.zst", "small")
}

func TestDefaultReserve(t *testing.T) {
	t.Parallel()
	for total, want := range map[capstan.Bytes]capstan.Bytes{
		0: 0, 8 * capstan.MiB: capstan.MiB, capstan.GiB: 64 * capstan.MiB,
		50 * capstan.GiB: 512 * capstan.MiB, 18 * capstan.TiB: capstan.GiB,
	} {
		if got := defaultReserve(total); got != want {
			t.Errorf("of %s: %s, want %s", total, got, want)
		}
	}
}

// The free space is asked for seldom when there is plenty.
func TestFreeSpaceIsAskedSeldom(t *testing.T) {
	t.Parallel()
	asked := 0
	v := open(t, t.TempDir(), Options{Create: true, Catalog: "home", FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, _ string, _ int) error {
		if op == disk.OpFree {
			asked++
		}
		return nil
	})}})
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	file, err := v.Create(t.Context(), testSet, testName)
	if err != nil {
		t.Fatal(err)
	}
	asked = 0
	for range 40 {
		if _, err := file.Write(make([]byte, capstan.MiB)); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Abort(); err != nil || asked != 3 {
		t.Errorf("asked %d times for 40 MiB, %v", asked, err)
	}
}

// Reading the marker again and again would wind a tape to and fro.
func TestMarkerIsReadSeldom(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	open(t, path, Options{Create: true, Catalog: "home"})
	reads := 0
	v := open(t, path, Options{Catalog: "home", FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, at string, _ int) error {
		if op == disk.OpRead && filepath.Base(at) == markerName {
			reads++
		}
		return nil
	})}})
	if err := v.ClaimSet(t.Context(), testSet, "home"); err != nil {
		t.Fatal(err)
	}
	before := reads
	for i := range 10 {
		store(t, v, testSet, capstan.ArchiveName(testSet, capstan.ArchiveNumber(i+1), capstan.CodecZstd), "x")
	}
	if reads != before {
		t.Errorf("read %d times for ten archives", reads-before)
	}
	// A changed marker is read.
	put(t, filepath.Join(path, markerName), `{"format":1,"id":"0f6a1b5e-0000-4000-8000-000000000001"}`)
	if _, err := v.List(t.Context(), testSet); !errors.Is(err, ErrGone) {
		t.Errorf("another volume's marker: %v", err)
	}
}
