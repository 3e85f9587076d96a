package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/capstantest"
)

// namings are the ways in which a file gets its name; each must do all the same.
func namings() map[string]linkMethod {
	return map[string]linkMethod{"by descriptor": linkByFD, "through proc": linkThrough, "temporary names": linkNever}
}

func scratch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		names, _ := os.ReadDir(dir)
		for _, name := range names {
			capstantest.RemoveAll(t, filepath.Join(dir, name.Name()))
		}
	})
	return dir
}

func TestHostileTree(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	source := filepath.Join(dir, "source")
	capstantest.HostileTree(t, source)
	for name, naming := range namings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := filepath.Join(scratch(t), "target")
			tree := open(t, target, Options{})
			tree.naming = naming
			copyTree(t, tree, source, "new\nbase", int(naming)*3)
			capstantest.CompareTrees(t, source, filepath.Join(target, "new\nbase"))
			if notes := tree.Notes(); len(notes) > 0 {
				t.Errorf("notes: %q", notes)
			}
			if names, err := os.ReadDir(target); err != nil || len(names) != 1 {
				t.Errorf("left in the target: %v, %v", names, err)
			}
		})
	}
}

// TestHostileTreeIntoForeignTarget restores below a directory that has a default
// ACL and setgid, and over a tree that is already there.
func TestHostileTreeIntoForeignTarget(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
	capstantest.HostileTree(t, source)
	run(t, "mkdir", target)
	run(t, "chgrp", "4321", target)
	run(t, "chmod", "2755", target)
	run(t, "setfacl", "-m", "d:u::r-x,d:u:1000:rwx,d:g::rwx,d:m::rwx,d:o::---", target)

	tree := open(t, target, Options{Overwrite: true})
	copyTree(t, tree, source, "base", 2)
	capstantest.CompareTrees(t, source, filepath.Join(target, "base"))
	copyTree(t, tree, source, "base", 2)
	capstantest.CompareTrees(t, source, filepath.Join(target, "base"))
	if notes := tree.Notes(); len(notes) > 0 {
		t.Errorf("notes: %q", notes)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestStockToolsAgree looks at restored entries with the tools of the system.
func TestStockToolsAgree(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	tree := open(t, dir, Options{})
	file := capstan.Entry{
		Kind: capstan.KindFile, Mode: 0o4770, UID: 1234, GID: 5678, Size: 3 << 20, Sparse: true,
		Data:    []capstan.Extent{{Offset: 1 << 20, Length: 4}},
		ModTime: time.Date(1965, 4, 3, 2, 1, 0, 987_654_321, time.UTC),
		Xattrs:  []capstan.Xattr{{Name: "user.k=v", Value: []byte("\x00\xff")}, {Name: "trusted.t", Value: nil}},
		ACL:     "user::rwx,user:1000:r-x,group::r--,group:77:-w-,mask::rwx,other::---",
	}
	if err := tree.Place(t.Context(), "a/file", &file, strings.NewReader("data")); err != nil {
		t.Fatal(err)
	}
	device := capstan.Entry{Kind: capstan.KindBlkDevice, Mode: 0o640, UID: 5, GID: 6, Major: 300, Minor: 70_000, ModTime: time.Unix(7, 0)}
	if err := tree.Place(t.Context(), "a/device", &device, nil); err != nil {
		t.Fatal(err)
	}
	folder := capstan.Entry{Kind: capstan.KindDir, Mode: 0o1750, UID: 8, GID: 9, ModTime: time.Unix(11, 0), DefaultACL: file.ACL}
	if err := tree.FinishDir(t.Context(), "a", &folder); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		argv []string
	}{
		{"1965-04-03 02:01:00.987654321 +0000 4770 1234:5678 3145728\n", []string{"env", "TZ=UTC", "stat", "-c", "%y %a %u:%g %s", dir + "/a/file"}},
		{"7 block special file 640 5:6 12c:11170\n", []string{"stat", "-c", "%Y %F %a %u:%g %t:%T", dir + "/a/device"}},
		{"11 directory 1750 8:9\n", []string{"stat", "-c", "%Y %F %a %u:%g", dir + "/a"}},
		{"user.k\\075v=0x00ff\n\n", []string{"getfattr", "--absolute-names", "-n", "user.k=v", "-e", "hex", dir + "/a/file"}},
		{"trusted.t=\"\"\n\n", []string{"getfattr", "--absolute-names", "-n", "trusted.t", dir + "/a/file"}},
		{"user::rwx\nuser:1000:r-x\ngroup::r--\ngroup:77:-w-\nmask::rwx\nother::---\n\n", []string{"getfacl", "-cnpE", dir + "/a/file"}},
		{"user::rwx\nuser:1000:r-x\ngroup::r--\ngroup:77:-w-\nmask::rwx\nother::---\n\n", []string{"getfacl", "-cdnpE", dir + "/a"}},
		{strings.Repeat("\x00", 1<<20) + "data" + strings.Repeat("\x00", 2<<20-4), []string{"cat", dir + "/a/file"}},
	} {
		got := run(t, c.argv[0], c.argv[1:]...)
		if strings.HasPrefix(got, "# file:") {
			_, got, _ = strings.Cut(got, "\n")
		}
		if got != c.want {
			t.Errorf("%s: got %.300q, want %.300q", c.argv, got, c.want)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/a/file", &st); err != nil || st.Blocks > 64 {
		t.Errorf("%d blocks of 512 bytes for 4 bytes of data, %v", st.Blocks, err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{dir + "/file", dir + "/file/below"} {
		tree, err := Open(target, Options{})
		if tree != nil || !errors.Is(err, capstan.ErrRefused) {
			t.Errorf("Open(%s) = %v", target, err)
		}
	}
	open(t, dir+"/a/b/c", Options{})
	if err := os.Symlink(dir+"/a", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	tree := open(t, dir+"/link", Options{})
	if err := placeText(t.Context(), tree, "f", "x"); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(dir + "/a/f"); string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if err := tree.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
	if err := placeText(t.Context(), tree, "g", "x"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestDeepTree goes deeper than directories are held open, down and up again.
func TestDeepTree(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	tree := open(t, filepath.Join(dir, "target"), Options{})
	const levels = 260
	paths := []string{"0"}
	for i := 1; i < levels; i++ {
		paths = append(paths, fmt.Sprintf("%s/%d", paths[i-1], i))
	}
	for _, path := range paths {
		if err := errors.Join(tree.Dir(t.Context(), path), placeText(t.Context(), tree, path+"/file", path)); err != nil {
			t.Fatal(err)
		}
	}
	if held := len(tree.dirs.byPath); held > openDirs || tree.dirs.recent.Len() != held {
		t.Errorf("%d directories open, %d listed", held, tree.dirs.recent.Len())
	}
	for _, path := range slices.Backward(paths) {
		e := capstan.Entry{Kind: capstan.KindDir, Mode: 0o711, ModTime: time.Unix(1_000_000, 5)}
		if err := tree.FinishDir(t.Context(), path, &e); err != nil {
			t.Fatal(err)
		}
	}
	at, err := unix.Open(filepath.Join(dir, "target"), unix.O_PATH, 0)
	for i := 0; i < levels && err == nil; i++ {
		var below int
		below, err = unix.Openat(at, fmt.Sprint(i), unix.O_PATH|unix.O_NOFOLLOW, 0)
		unix.Close(at)
		at = below
		var folder, file unix.Stat_t
		if err := errors.Join(err, unix.Fstat(at, &folder), unix.Fstatat(at, "file", &file, 0)); err != nil ||
			folder.Mode != unix.S_IFDIR|0o711 || folder.Mtim != (unix.Timespec{Sec: 1_000_000, Nsec: 5}) || file.Size != int64(len(paths[i])) {
			t.Errorf("level %d: %+v, %+v, %v", i, folder, file, err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(at)
}

// TestDescriptorsAreReturned counts what is open before and after.
func TestDescriptorsAreReturned(t *testing.T) {
	dir := scratch(t)
	before := openDescriptors(t)
	tree, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		path := fmt.Sprintf("d%d", i)
		_ = placeText(t.Context(), tree, path+"/f", "x")
		_ = placeText(t.Context(), tree, path+"/f", "x")       // refused
		_ = placeText(t.Context(), tree, path+"/f/below", "x") // refused
		_ = tree.FinishDir(t.Context(), path, &capstan.Entry{Kind: capstan.KindDir, Mode: 0o755})
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// mount mounts a filesystem of its own for a test.
func mount(t *testing.T, kind, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, kind, 0, options); err != nil {
		t.Fatalf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}
