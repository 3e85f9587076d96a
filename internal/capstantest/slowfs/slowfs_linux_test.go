package slowfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// verdict is when something counts as hung.
const verdict = 20 * time.Second

// begin mounts an empty directory.
func begin(t *testing.T) *slowfs.Mount {
	t.Helper()
	dir := t.TempDir()
	return slowfs.Start(t, filepath.Join(dir, "below"), filepath.Join(dir, "mount"))
}

// hit waits for an operation that meets a rule.
func hit(t *testing.T, rule *slowfs.Active) slowfs.Hit {
	t.Helper()
	timer := time.NewTimer(verdict)
	defer timer.Stop()
	select {
	case h := <-rule.Hits():
		return h
	case <-timer.C:
		t.Fatal("no operation meets the rule")
	}
	return slowfs.Hit{}
}

// done waits for the result of something that runs beside.
func done(t *testing.T, result <-chan error) error {
	t.Helper()
	timer := time.NewTimer(verdict)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		t.Fatal("it hangs")
	}
	return nil
}

// still expects that something does not come to its end for a while.
func still(t *testing.T, result <-chan error) {
	t.Helper()
	timer := time.NewTimer(200 * time.Millisecond)
	defer timer.Stop()
	select {
	case err := <-result:
		t.Fatalf("it has ended: %v", err)
	case <-timer.C:
	}
}

// beside runs work in a goroutine.
func beside(work func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- work() }()
	return result
}

// TestPassesThrough expects of a mount without rules what is expected of any
// filesystem.
func TestPassesThrough(t *testing.T) {
	t.Parallel()
	m := begin(t)
	content := bytes.Repeat([]byte("what is written is read\n"), 200_000)
	path := filepath.Join(m.Dir, "dir", "file")
	for _, err := range []error{
		os.Mkdir(filepath.Join(m.Dir, "dir"), 0o750),
		os.WriteFile(path, content, 0o640),
		os.Symlink("file", filepath.Join(m.Dir, "dir", "symlink")),
		os.Link(path, filepath.Join(m.Dir, "dir", "hardlink")),
		unix.Setxattr(path, "user.mark", []byte("x"), 0),
		os.Rename(path, path+" 2"),
		os.Chtimes(path+" 2", time.Unix(1_600_000_000, 5), time.Unix(1_600_000_000, 7)),
		os.Chmod(path+" 2", 0o4711),
		os.WriteFile(filepath.Join(m.Dir, "gone"), nil, 0o600),
		os.Remove(filepath.Join(m.Dir, "gone")),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	capstantest.CompareTrees(t, m.Below, m.Dir)
	if back, err := os.ReadFile(path + " 2"); err != nil || !bytes.Equal(back, content) {
		t.Errorf("%d bytes came back, %v", len(back), err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, path+" 2", unix.AT_FDCWD, filepath.Join(m.Dir, "dir", "symlink"), unix.RENAME_NOREPLACE); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a rename that must not replace: %v", err)
	}
	counts := m.Counts()
	for _, op := range []slowfs.Op{slowfs.Mkdir, slowfs.Create, slowfs.Write, slowfs.Close, slowfs.Rename, slowfs.Unlink, slowfs.Read, slowfs.Open, slowfs.Lookup, slowfs.Stat, slowfs.List} {
		if counts[op] == 0 {
			t.Errorf("no %s was counted: %v", op, counts)
		}
	}
	if n, want := counts[slowfs.Write], len(content)>>20; n < want || n > 2*want+2 {
		t.Errorf("%d writes for %d bytes", n, len(content))
	}
}

// TestFails has operations of every kind fail, the n-th ones and no others.
func TestFails(t *testing.T) {
	t.Parallel()
	m := begin(t)
	at := func(name string) string { return filepath.Join(m.Dir, name) }
	if err := errors.Join(os.WriteFile(at("old"), []byte("old"), 0o600), os.Mkdir(at("empty"), 0o700), os.Symlink("old", at("link"))); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(at("file"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dir, err := os.Open(m.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for op, work := range map[slowfs.Op]func() error{
		slowfs.Open: func() error {
			f, err := os.Open(at("old"))
			return errors.Join(err, f.Close())
		},
		slowfs.Create: func() error { return os.WriteFile(at("new"), nil, 0o600) },
		slowfs.Read: func() error {
			_, err := os.ReadFile(at("old"))
			return err
		},
		slowfs.Write: func() error {
			_, err := file.Write([]byte("x"))
			return err
		},
		slowfs.Sync:    file.Sync,
		slowfs.SyncDir: dir.Sync,
		slowfs.Close: func() error {
			fd, err := unix.Dup(int(file.Fd()))
			return errors.Join(err, unix.Close(fd))
		},
		slowfs.Rename: func() error { return os.Rename(at("old"), at("other")) },
		slowfs.Unlink: func() error { return os.Remove(at("old")) },
		slowfs.Mkdir:  func() error { return os.Mkdir(at("dir"), 0o700) },
		slowfs.Rmdir:  func() error { return unix.Rmdir(at("empty")) },
		slowfs.Lookup: func() error {
			_, err := os.Lstat(at("old"))
			return err
		},
		slowfs.Stat: func() error {
			_, err := os.Lstat(m.Dir)
			return err
		},
		slowfs.List: func() error {
			_, err := os.ReadDir(m.Dir)
			return err
		},
		slowfs.Free: func() error { return unix.Statfs(m.Dir, new(unix.Statfs_t)) },
		slowfs.Readdir: func() error {
			_, err := os.ReadDir(m.Dir)
			return err
		},
		slowfs.Resize:   func() error { return file.Truncate(1) },
		slowfs.Allocate: func() error { return unix.Fallocate(int(file.Fd()), 0, 0, 10) },
		slowfs.Setattr:  func() error { return os.Chmod(at("old"), 0o640) },
		slowfs.Setxattr: func() error { return unix.Setxattr(at("old"), "user.note", []byte("x"), 0) },
		slowfs.Getxattr: func() error {
			_, err := unix.Getxattr(at("old"), "user.note", make([]byte, 10))
			return err
		},
		slowfs.Symlink: func() error { return os.Symlink("old", at("a link")) },
		slowfs.Readlink: func() error {
			_, err := os.Readlink(at("link"))
			return err
		},
		slowfs.Link:  func() error { return os.Link(at("old"), at("hard")) },
		slowfs.Mknod: func() error { return unix.Mkfifo(at("fifo"), 0o600) },
		slowfs.Seek: func() error {
			_, err := unix.Seek(int(file.Fd()), 0, unix.SEEK_DATA)
			return err
		},
	} {
		rule := m.Add(slowfs.Rule{Op: op, Errno: unix.ENOSPC})
		if err := work(); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v", op, err)
		}
		rule.End()
		if h := hit(t, rule); h.Op != op || h.N != 1 {
			t.Errorf("%s: hit %+v", op, h)
		}
	}
	rule := m.Add(slowfs.Rule{Op: slowfs.Write, Name: "f*", After: 2, Times: 3, Errno: unix.EIO})
	other, err := os.Create(at("other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var went string
	for range 8 {
		_, err := file.Write([]byte("x"))
		if _, err := other.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		went += map[bool]string{true: "+", false: "-"}[err == nil]
		if err != nil && !errors.Is(err, unix.EIO) {
			t.Error(err)
		}
	}
	if went != "++---+++" {
		t.Errorf("writes went %s", went)
	}
	rule.End()
	m.Add(slowfs.Rule{Op: slowfs.Rename, Name: "late", Late: true, Errno: unix.EIO})
	if err := os.Rename(at("old"), at("late")); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(m.Below, "late")); err != nil {
		t.Errorf("a late failure has done its work: %v", err)
	}
}

// TestShort has writes take half of what they are asked for. Go's files ask again
// for the rest, so that a program sees it only where that fails.
func TestShort(t *testing.T) {
	t.Parallel()
	m := begin(t)
	file, err := os.Create(filepath.Join(m.Dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	data := bytes.Repeat([]byte("0123456789"), 1000)
	expect := func(want int, wanted, err error, n int) {
		t.Helper()
		if n != want || !errors.Is(err, wanted) {
			t.Errorf("%d bytes, %v; want %d, %v", n, err, want, wanted)
		}
	}
	rule := m.Add(slowfs.Rule{Op: slowfs.Write, Short: true, Times: 1})
	n, err := unix.Write(int(file.Fd()), data)
	expect(len(data)/2, nil, err, n)
	rule.End()
	rule = m.Add(slowfs.Rule{Op: slowfs.Write, Short: true})
	n, err = file.Write(data)
	expect(len(data), nil, err, n)
	rule.End()
	rule = m.Add(slowfs.Rule{Ops: []slowfs.Op{slowfs.Write, slowfs.Sync}, Short: true, Errno: unix.ENOSPC})
	n, err = file.Write(data) // the kernel asks for as much as ends at a page first
	if n == 0 || n > len(data)/2 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := file.Sync(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("sync: %v", err)
	}
	rule.End()
	want := slices.Concat(data[:len(data)/2], data, data[:n])
	if got, err := os.ReadFile(filepath.Join(m.Below, "file")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes lie there, want %d: %v", len(got), len(want), err)
	}
}

// TestSlow measures delays and rates.
func TestSlow(t *testing.T) {
	t.Parallel()
	m := begin(t)
	path := filepath.Join(m.Dir, "file")
	took := func(work func() error) time.Duration {
		t.Helper()
		begin := time.Now()
		if err := work(); err != nil {
			t.Error(err)
		}
		return time.Since(begin)
	}
	write := func() error { return os.WriteFile(path, make([]byte, 2<<20), 0o600) }
	rule := m.Add(slowfs.Rule{Op: slowfs.Close, Delay: 300 * time.Millisecond})
	if d := took(write); d < 300*time.Millisecond {
		t.Errorf("a slow close took %s", d)
	}
	rule.End()
	m.Add(slowfs.Rule{Op: slowfs.Write, Rate: 8 << 20})
	if d := took(write); d < 200*time.Millisecond || d > verdict {
		t.Errorf("2 MiB at 8 MiB/s took %s", d)
	}
}

// TestHolds holds operations until their rule ends.
func TestHolds(t *testing.T) {
	t.Parallel()
	m := begin(t)
	path := filepath.Join(m.Dir, "file")
	rule := m.Add(slowfs.Rule{Op: slowfs.Rename, Name: "new", Hold: true, Late: true})
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	result := beside(func() error { return os.Rename(path, filepath.Join(m.Dir, "new")) })
	if h := hit(t, rule); h != (slowfs.Hit{Op: slowfs.Rename, Path: "new", N: 1}) {
		t.Errorf("hit %+v", h)
	}
	if _, err := os.Lstat(filepath.Join(m.Below, "new")); err != nil {
		t.Errorf("held late: %v", err)
	}
	still(t, result)
	rule.End()
	if err := done(t, result); err != nil {
		t.Error(err)
	}
	rule = m.Add(slowfs.Rule{Op: slowfs.Unlink, Hold: true, Errno: unix.EIO})
	result = beside(func() error { return os.Remove(filepath.Join(m.Dir, "new")) })
	hit(t, rule)
	still(t, result)
	rule.End()
	if err := done(t, result); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
}

// TestStops stops the server and lets it go on.
func TestStops(t *testing.T) {
	t.Parallel()
	m := begin(t)
	path := filepath.Join(m.Dir, "file")
	m.Stop()
	result := beside(func() error { return os.WriteFile(path, []byte("x"), 0o600) })
	still(t, result)
	m.Continue()
	if err := done(t, result); err != nil {
		t.Error(err)
	}
}

// TestEnds unmounts whatever state the server is in.
func TestEnds(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(m *slowfs.Mount){
		"as it is": func(*slowfs.Mount) {},
		"stopped":  func(m *slowfs.Mount) { m.Stop() },
		"killed": func(m *slowfs.Mount) {
			m.Kill()
			if _, err := os.Lstat(m.Dir); !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("a mount without its server: %v", err)
			}
		},
	} {
		m := begin(t)
		rule := m.Add(slowfs.Rule{Op: slowfs.Write, Hold: true})
		result := beside(func() error { return os.WriteFile(filepath.Join(m.Dir, "file"), []byte("x"), 0o600) })
		hit(t, rule)
		before(m)
		m.End()
		if err := done(t, result); err == nil {
			t.Errorf("%s: a held write went well", name)
		}
		if mounted(t, m.Dir) {
			t.Errorf("%s: %s is still mounted", name, m.Dir)
		}
	}
}

func mounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(mounts), fmt.Sprintf(" %s ", dir))
}
