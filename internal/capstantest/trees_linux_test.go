package capstantest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
)

// hostile makes a hostile tree and a faithful copy of it.
func hostile(t *testing.T) (tree, twin string) {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		capstantest.RemoveAll(t, filepath.Join(dir, "tree"))
		capstantest.RemoveAll(t, filepath.Join(dir, "twin"))
	})
	tree, twin = filepath.Join(dir, "tree"), filepath.Join(dir, "twin")
	capstantest.HostileTree(t, tree)
	capstantest.HostileTree(t, twin)
	return tree, twin
}

func TestHostileTreeIsReproducible(t *testing.T) {
	t.Parallel()
	tree, twin := hostile(t)
	capstantest.CompareTrees(t, tree, twin, capstantest.WithSockets())

	// cp -a keeps all but what cannot be reached by a path.
	long := capstantest.Skip(func(path string) bool { return path == "long" })
	copied := filepath.Join(t.TempDir(), "copy")
	capstantest.RemoveAll(t, filepath.Join(tree, "long"))
	capstantest.RemoveAll(t, filepath.Join(twin, "long"))
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", "--sparse=auto", tree, copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	capstantest.CompareTrees(t, twin, copied, long, capstantest.IgnoreRoot(), capstantest.WithSockets(), capstantest.IgnoreHoles())
}

// TestDiffSees changes one thing at a time in a copy.
func TestDiffSees(t *testing.T) {
	t.Parallel()
	tree, twin := hostile(t)
	at := func(rel string) string { return filepath.Join(twin, rel) }
	stamp := time.Unix(1_234_567_890, 5)
	for _, c := range []struct {
		name, want string
		change     func() error
	}{
		{"content", `"contents/noise-1": content differs`, func() error { return overwrite(at("contents/noise-1"), 0, []byte{'!'}) }},
		{"last byte", `"contents/noise-5M": content differs`, func() error { return overwrite(at("contents/noise-5M"), 5<<20+16, []byte{'!'}) }},
		{"size", `"contents/noise-513": size 512, want 513`, func() error { return os.Truncate(at("contents/noise-513"), 512) }},
		{"missing", `"names/a=b": missing`, func() error { return os.Remove(at("names/a=b")) }},
		{"extra", `"extra": not expected`, func() error { return os.WriteFile(at("extra"), nil, 0o600) }},
		{"kind", `"links/absolute": kind 100000, want 120000`, func() error {
			return orElse(os.Remove(at("links/absolute")), func() error { return os.WriteFile(at("links/absolute"), nil, 0o644) })
		}},
		{"mode", `"modes/both": mode 0711, want 6711`, func() error { return unix.Chmod(at("modes/both"), 0o711) }},
		{"owner", `"owners/plain": owner 0:0, want 1234:5678`, func() error { return os.Chown(at("owners/plain"), 0, 0) }},
		{"mtime", `"times/1970": mtime 1234567890.000000005, want 0.000000000`, func() error { return os.Chtimes(at("times/1970"), stamp, stamp) }},
		{"mtime of a directory", `"dirs/empty": mtime 1234567890.000000005, want `, func() error { return os.Chtimes(at("dirs/empty"), stamp, stamp) }},
		{"symlink", `"links/to-file": symlink to "else", want "../contents/noise-1"`, func() error {
			return orElse(os.Remove(at("links/to-file")), func() error { return os.Symlink("else", at("links/to-file")) })
		}},
		{"device", `"special/null": device 1:5, want 1:3`, func() error {
			return orElse(os.Remove(at("special/null")), func() error {
				return unix.Mknod(at("special/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
			})
		}},
		{"hard link broken", `"links/z/third": hard links "", want "links/a/deeper/second, links/a/first, links/z/third"`, func() error {
			return exec.CommandContext(t.Context(), "sed", "-i", "", at("links/z/third")).Run()
		}},
		{"hole filled", `"sparse/all-hole": holes [], want [{0 5242880}]`, func() error { return overwrite(at("sparse/all-hole"), 0, make([]byte, 5<<20)) }},
		{"hole made", `"contents/zeros-not-sparse": holes [{0 100000}], want []`, func() error {
			return orElse(os.Truncate(at("contents/zeros-not-sparse"), 0), func() error { return os.Truncate(at("contents/zeros-not-sparse"), 100_000) })
		}},
		{"xattr", `"xattrs/file": xattr "user.text" is "other", want "value"`, func() error {
			return unix.Setxattr(at("xattrs/file"), "user.text", []byte("other"), 0)
		}},
		{"xattr of a symlink", `"xattrs/symlink": xattr "trusted.link" missing`, func() error { return unix.Lremovexattr(at("xattrs/symlink"), "trusted.link") }},
		{"default ACL", `"acls/dir": xattr "system.posix_acl_default" missing`, func() error { return exec.CommandContext(t.Context(), "setfacl", "-k", at("acls/dir")).Run() }},
		{"ACL", `"acls/full": xattr "system.posix_acl_access" is `, func() error {
			return exec.CommandContext(t.Context(), "setfacl", "-m", "u:1000:---", at("acls/full")).Run()
		}},
	} {
		if err := c.change(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		found, err := capstantest.Diff(tree, twin)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if !strings.Contains(strings.Join(found, "\n"), c.want) {
			t.Errorf("%s: no difference %q in\n%s", c.name, c.want, strings.Join(found, "\n"))
		}
	}
}

func orElse(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

func overwrite(path string, offset int64, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, offset)
	return orElse(err, f.Close)
}

func TestDiffReachesLongPaths(t *testing.T) {
	t.Parallel()
	tree, twin := hostile(t)
	// Move down until the path is short enough to be named from where we are.
	script := `cd "$1/long" && for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do cd -P -- ./level*; done && echo changed > file`
	if out, err := exec.CommandContext(t.Context(), "bash", "-c", script, "bash", twin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found, err := capstantest.Diff(tree, twin)
	if err != nil || len(found) == 0 || !strings.Contains(found[0], "file") {
		t.Errorf("found %q, %v", found, err)
	}
}

func TestDiffIsBounded(t *testing.T) {
	t.Parallel()
	tree, _ := hostile(t)
	found, err := capstantest.Diff(tree, t.TempDir())
	if err != nil || len(found) == 0 {
		t.Fatalf("%q, %v", found, err)
	}
	many := t.TempDir()
	for i := range 150 {
		if err := os.WriteFile(filepath.Join(many, strings.Repeat("x", i+1)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err = capstantest.Diff(t.TempDir(), many, capstantest.IgnoreRoot())
	if err != nil || len(found) != 101 || found[100] != "... and 50 more" {
		t.Errorf("%d differences, the last %q, %v", len(found), found[len(found)-1], err)
	}
}

func TestRealTree(t *testing.T) {
	t.Parallel()
	dir := capstantest.RealTree(t, 60)
	files := 0
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files < 30 || files > 60 {
		t.Errorf("%d files, %v", files, err)
	}
}
