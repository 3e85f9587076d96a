package disk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
)

// mountTmpfs gives a filesystem of its own; the tests run as root.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := mountTmpfs(t, "1m")
	file, err := FS{}.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err = file.Write(make([]byte, 100_000)); err != nil {
			break
		}
	}
	if !errors.Is(err, capstan.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing to a full disk: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if err := (FS{}).WriteNew(filepath.Join(dir, "other"), []byte("x")); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("a small file on a full disk: %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestRenameBetweenFilesystems(t *testing.T) {
	t.Parallel()
	a, b := mountTmpfs(t, "1m"), mountTmpfs(t, "1m")
	from, to := filepath.Join(a, "file"), filepath.Join(b, "file")
	write(t, from, "x")
	for _, rename := range []func(from, to string) error{FS{}.Rename, FS{}.RenameNew} {
		err := rename(from, to)
		if !errors.Is(err, capstan.ErrRefused) || !errors.Is(err, syscall.EXDEV) {
			t.Errorf("got %v", err)
		}
	}
	if read(t, from) != "x" {
		t.Error("the file changed")
	}
	if same, err := (FS{}).SameFilesystem(a, b); same || err != nil {
		t.Error(same, err)
	}
}

// Two mounts of one filesystem share the device, yet a rename between them fails.
func TestBindMountIsAnotherFilesystem(t *testing.T) {
	t.Parallel()
	a := mountTmpfs(t, "1m")
	b := t.TempDir()
	if err := unix.Mount(a, b, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(b, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	write(t, filepath.Join(a, "file"), "x")
	same, err := FS{}.SameFilesystem(a, b)
	renamed := FS{}.Rename(filepath.Join(a, "file"), filepath.Join(b, "moved")) == nil
	if err != nil || same != renamed {
		t.Errorf("said to be one: %v, %v; rename works: %v", same, err, renamed)
	}
	if same, err := (FS{}).SameFilesystem(a, a); !same || err != nil {
		t.Error(same, err)
	}
}

func TestFilesystemName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(mountTmpfs(t, "1m"), "with space")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if kind, err := (FS{}).Filesystem(dir); kind != "tmpfs" || err != nil {
		t.Error(kind, err)
	}
	if kind, err := (FS{}).Filesystem("/proc/self"); kind != "proc" || err != nil {
		t.Error(kind, err)
	}
	if _, err := (FS{}).Filesystem(filepath.Join(dir, "no")); err == nil {
		t.Error("a path that is not there lies on no filesystem")
	}
}

func TestMountKind(t *testing.T) {
	t.Parallel()
	const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /mnt/my\040tape rw - fuse.ltfs ltfs:/dev/sg1 rw
31 22 0:26 / /mnt/my\040tapes rw master:3 - nfs4 host:/x rw
32 22 0:27 / /mnt/my\040tape rw - tmpfs none rw
broken line
`
	for path, want := range map[string]string{
		"/": "ext4", "/mnt": "ext4", "/mnt/my tape/x": "tmpfs", "/mnt/my tapes": "nfs4", "/mnt/my tapeworm": "ext4",
	} {
		if got := mountKind([]byte(table), path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestOpenRefusesWhatCouldBlock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (FS{}).Open(path); err == nil {
		t.Error("a fifo was opened")
	}
}
