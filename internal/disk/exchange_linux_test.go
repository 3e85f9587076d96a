package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"capstan"
	"capstan/internal/disk"
)

func TestExchange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, name := range []string{a, b} {
		if err := errors.Join(os.Mkdir(name, 0o700), os.WriteFile(filepath.Join(name, "f"), []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(in, want string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(in, "f")); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", in, got, err, want)
		}
	}
	if err := (disk.FS{}).Exchange(a, b); err != nil {
		t.Fatal(err)
	}
	holds(a, b)
	holds(b, a)
	if err := (disk.FS{}).Exchange(a, filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with nothing: %v", err)
	}
	if err := (disk.FS{}).Exchange(a, "/proc/self"); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("across filesystems: %v", err)
	}
	planned := errors.New("planned")
	faulty := disk.FS{Faults: disk.FaultFunc(func(op disk.Op, path string, _ int) error {
		if op == disk.OpExchange && path == a {
			return planned
		}
		return nil
	})}
	if err := faulty.Exchange(a, b); !errors.Is(err, planned) {
		t.Errorf("with a fault: %v", err)
	}
	holds(a, b)
	holds(b, a)
}

func TestSetOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link := filepath.Join(dir, "f"), filepath.Join(dir, "l")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink("f", link)); err != nil {
		t.Fatal(err)
	}
	if err := (disk.FS{}).SetOwner(file, os.Geteuid(), os.Getegid(), 0o640); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := (disk.FS{}).SetOwner(link, os.Geteuid(), os.Getegid(), 0o777); err == nil {
		t.Error("a symlink was followed")
	}
}
