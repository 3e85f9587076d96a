package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"capstan"
	"capstan/internal/capstantest"
)

// walled makes a target with links that lead out of it, beside a directory that
// must stay as it is; the cleanup checks that it has.
func walled(t *testing.T) (target, outside string) {
	t.Helper()
	dir := t.TempDir()
	target, outside = filepath.Join(dir, "target"), filepath.Join(dir, "outside")
	twin := filepath.Join(dir, "twin")
	for _, at := range []string{target, outside, outside + "/dir"} {
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside+"/secret", []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", outside, twin)
	for _, link := range [][2]string{
		{outside, "absolute"}, {"../outside", "relative"}, {"../outside/secret", "file"}, {"../outside/new", "dangling"}, {".", "here"},
	} {
		if err := os.Symlink(link[0], filepath.Join(target, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(outside+"/secret", target+"/hard"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		capstantest.CompareTrees(t, twin, outside)
		if names, err := os.ReadDir(dir); err != nil || len(names) != 3 {
			t.Errorf("beside the target: %v, %v", names, err)
		}
	})
	return target, outside
}

func TestPathsOutside(t *testing.T) {
	t.Parallel()
	for _, overwrite := range []bool{false, true} {
		target, outside := walled(t)
		tree := open(t, target, Options{Overwrite: overwrite})
		for _, path := range []string{
			"", ".", "..", "/", "a/..", "../outside/secret", "a/../../outside/secret", outside + "/secret", "//x", "a//b", "a/./b", "./a",
			"a/", "a\x00b", "\x00", "a/\x00/b",
			"absolute/secret", "relative/secret", "relative/new", "relative/dir/new", "file/x", "dangling/x", "here/x", "here/here/x", "hard/x",
		} {
			e := capstan.Entry{Kind: capstan.KindDir, Mode: 0o777}
			for name, err := range map[string]error{
				"Place": placeText(t.Context(), tree, path, "attack"), "Dir": tree.Dir(t.Context(), path),
				"Link": tree.Link(t.Context(), path, "hard"), "Link from": tree.Link(t.Context(), "ok", path),
				"FinishDir": tree.FinishDir(t.Context(), path, &e),
			} {
				if !errors.Is(err, capstan.ErrRefused) {
					t.Errorf("%s(%q) with overwrite %t: %v", name, path, overwrite, err)
				}
			}
		}
		for _, link := range []string{"absolute", "relative", "file", "dangling", "here"} {
			e := capstan.Entry{Kind: capstan.KindDir, Mode: 0o777}
			if err := tree.FinishDir(t.Context(), link, &e); !errors.Is(err, capstan.ErrRefused) {
				t.Errorf("FinishDir(%s): %v", link, err)
			}
		}
	}
}

// TestLinksAreReplaced overwrites links and never what they lead to.
func TestLinksAreReplaced(t *testing.T) {
	t.Parallel()
	target, _ := walled(t)
	tree := open(t, target, Options{Overwrite: true})
	for _, name := range []string{"absolute", "relative", "file", "dangling", "hard"} {
		if err := placeText(t.Context(), tree, name, "new"); err != nil {
			t.Error(err)
		}
		info, err := os.Lstat(filepath.Join(target, name))
		if err != nil || !info.Mode().IsRegular() || info.Size() != 3 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := tree.Dir(t.Context(), "here"); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(target + "/here"); err != nil || !info.IsDir() {
		t.Errorf("here: %v, %v", info, err)
	}
}

// TestRestoredLinksAreNotFollowed is a set that holds a symlink and then
// something below it.
func TestRestoredLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	target, outside := walled(t)
	tree := open(t, target, Options{})
	link := capstan.Entry{Kind: capstan.KindSymlink, Link: outside, UID: 1234, GID: 1234}
	if err := tree.Place(t.Context(), "a/b", &link, nil); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"a/b/secret", "a/b/new", "a/b/dir/new"} {
		if err := placeText(t.Context(), tree, path, "attack"); !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), "symlink") {
			t.Errorf("%s: %v", path, err)
		}
	}
	// A hard link to the symlink is one more symlink; it leads nowhere either.
	if err := tree.Link(t.Context(), "a/c", "a/b"); err != nil {
		t.Fatal(err)
	}
	if err := placeText(t.Context(), tree, "a/c/new", "attack"); !errors.Is(err, capstan.ErrRefused) {
		t.Error(err)
	}
}

// TestSwappedParent exchanges a directory and a symlink to the outside all the
// time while things are placed below that name.
func TestSwappedParent(t *testing.T) {
	t.Parallel()
	target, outside := walled(t)
	if err := errors.Join(os.Mkdir(target+"/d", 0o755), os.Symlink(outside, target+"/swap")); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, target+"/d", unix.AT_FDCWD, target+"/swap", unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	})
	refused := 0
	for range 300 {
		tree, err := Open(target, Options{Overwrite: true}) // without open directories from before
		if err != nil {
			t.Fatal(err)
		}
		err = placeText(t.Context(), tree, "d/secret", "attack")
		if err != nil && !errors.Is(err, capstan.ErrRefused) {
			t.Error(err)
		}
		if err != nil {
			refused++
		}
		link := capstan.Entry{Kind: capstan.KindFifo, Mode: 0o666}
		_ = tree.Place(t.Context(), "d/new", &link, nil)
		_ = tree.FinishDir(t.Context(), "d", &capstan.Entry{Kind: capstan.KindDir, Mode: 0o777, UID: 9})
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	swapper.Wait()
	t.Logf("%d of 300 refused", refused)
}

func TestExisting(t *testing.T) {
	t.Parallel()
	for name, naming := range namings() {
		dir := t.TempDir()
		for _, at := range []string{"/dir/inner", "/target"} {
			if err := os.MkdirAll(dir+at, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{"file", "fifo-like", "dir/inner/kept"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		large := strings.Repeat("large", 100_000)
		content := func(path string) string { b, _ := os.ReadFile(filepath.Join(dir, path)); return string(b) }
		keep := open(t, dir, Options{})
		replace := open(t, dir, Options{Overwrite: true})
		keep.naming, replace.naming = naming, naming

		symlink := capstan.Entry{Kind: capstan.KindSymlink, Link: "x"}
		fifo := capstan.Entry{Kind: capstan.KindFifo, Mode: 0o600}
		for what, err := range map[string]error{
			"file": placeText(t.Context(), keep, "file", "new"), "large file": placeText(t.Context(), keep, "file", large),
			"file on dir": placeText(t.Context(), keep, "dir", "new"), "symlink": keep.Place(t.Context(), "file", &symlink, nil),
			"fifo": keep.Place(t.Context(), "file", &fifo, nil), "link": keep.Link(t.Context(), "fifo-like", "file"),
			"dir on file": keep.Dir(t.Context(), "file"), "link on dir": keep.Link(t.Context(), "dir", "file"),
			"overwriting dir": placeText(t.Context(), replace, "dir", "new"), "overwriting dir, large": placeText(t.Context(), replace, "dir", large),
			"symlink on dir": replace.Place(t.Context(), "dir", &symlink, nil), "overwriting dir by link": replace.Link(t.Context(), "dir", "file"),
		} {
			if !errors.Is(err, capstan.ErrRefused) || !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if content("file") != "old" || content("fifo-like") != "old" || content("dir/inner/kept") != "old" {
			t.Errorf("%s: an existing file was changed", name)
		}
		if err := errors.Join(keep.Dir(t.Context(), "dir"), keep.Dir(t.Context(), "dir/inner")); err != nil {
			t.Errorf("%s: existing directory: %v", name, err)
		}

		if err := replace.Link(t.Context(), "fifo-like", "file"); err != nil {
			t.Error(err)
		}
		if err := replace.Link(t.Context(), "fifo-like", "file"); err != nil { // is so already
			t.Error(err)
		}
		for _, want := range []string{"new", large, ""} {
			if err := placeText(t.Context(), replace, "file", want); err != nil || content("file") != want {
				t.Errorf("%s: overwritten with %d bytes: %v", name, len(want), err)
			}
		}
		if content("fifo-like") != "old" {
			t.Errorf("%s: the other name of a replaced file was written through", name)
		}
		for _, e := range []*capstan.Entry{&symlink, &fifo, &symlink} {
			if err := replace.Place(t.Context(), "file", e, nil); err != nil {
				t.Error(err)
			}
		}
		if err := replace.Dir(t.Context(), "file"); err != nil {
			t.Error(err)
		}
		capstantest.CompareTrees(t, dir+"/target", dir+"/file", capstantest.IgnoreTimes(), capstantest.IgnoreRoot())
		if names, err := os.ReadDir(dir); err != nil || len(names) != 4 {
			t.Errorf("%s: left over: %v, %v", name, names, err)
		}
	}
}

// TestRenameNew takes a free name and refuses one that is taken, on every way.
func TestRenameNew(t *testing.T) {
	t.Parallel()
	for name, rename := range map[string]func(int, string, string) error{
		"renameat2": renameNew, "link": renameByLink, "look": renameIfFree,
	} {
		dir := t.TempDir()
		for _, file := range []string{"from", "taken"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := rename(fd, "from", "taken"); !errors.Is(err, unix.EEXIST) {
			t.Errorf("%s: taken: %v", name, err)
		}
		if err := rename(fd, "from", "to"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		unix.Close(fd)
		from, _ := os.ReadFile(dir + "/to")
		taken, _ := os.ReadFile(dir + "/taken")
		names, err := os.ReadDir(dir)
		if string(from) != "from" || string(taken) != "taken" || len(names) != 2 || err != nil {
			t.Errorf("%s: %q, %q, %v, %v", name, from, taken, names, err)
		}
	}
}
