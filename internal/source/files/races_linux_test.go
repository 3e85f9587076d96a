package files

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
)

// after gives options that change the tree when the source's root has been listed
// and nothing in it has been opened.
func after(change func()) Options {
	told := 0 // once of the root, then of what it lists
	return Options{Hooks: Hooks{Entries: func(int) {
		if told++; told == 2 {
			change()
		}
	}}}
}

func TestChangedAfterListing(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"01-file": "", "02-file-to-dir": "", "03-file-to-link": "", "04-file-to-fifo": "", "05-file-to-socket": "", "06-file-replaced": "old",
		"11-dir/x": "", "12-dir-to-file/x": "", "13-dir-to-link/x": "", "14-dir-to-fifo/x": "", "99": "last",
	})
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.Symlink("x", at("21-link")))
	must(t, os.Symlink("x", at("22-link-to-file")))
	all := collect(t, open(t, root, after(func() {
		for _, name := range []string{
			"01-file", "02-file-to-dir", "03-file-to-link", "04-file-to-fifo", "05-file-to-socket", "06-file-replaced",
			"11-dir", "12-dir-to-file", "13-dir-to-link", "14-dir-to-fifo", "21-link", "22-link-to-file",
		} {
			must(t, os.RemoveAll(at(name)))
		}
		write(t, at("02-file-to-dir/x"), "")
		must(t, os.Symlink("elsewhere", at("03-file-to-link")))
		must(t, unix.Mkfifo(at("04-file-to-fifo"), 0o600))
		must(t, unix.Mknod(at("05-file-to-socket"), unix.S_IFSOCK|0o600, 0))
		write(t, at("06-file-replaced"), "new content")
		write(t, at("12-dir-to-file"), "now a file")
		must(t, os.Symlink("/etc", at("13-dir-to-link")))
		must(t, unix.Mkfifo(at("14-dir-to-fifo"), 0o600))
		write(t, at("22-link-to-file"), "now a file")
		write(t, at("new"), "not listed")
	})), nil)
	wantOutcomes(t, all, "data stored", "data/01-file vanished", "data/02-file-to-dir vanished", "data/03-file-to-link stored",
		"data/04-file-to-fifo stored", "data/05-file-to-socket excluded", "data/06-file-replaced stored", "data/11-dir vanished",
		"data/12-dir-to-file stored", "data/13-dir-to-link stored", "data/14-dir-to-fifo stored", "data/21-link vanished",
		"data/22-link-to-file stored", "data/99 stored")
	for name, want := range map[string]capstan.EntryKind{
		"03-file-to-link": capstan.KindSymlink, "04-file-to-fifo": capstan.KindFifo, "06-file-replaced": capstan.KindFile,
		"12-dir-to-file": capstan.KindFile, "13-dir-to-link": capstan.KindSymlink, "14-dir-to-fifo": capstan.KindFifo, "22-link-to-file": capstan.KindFile,
	} {
		if g := byPath(t, all, "data/"+name); g.Kind != want {
			t.Errorf("%s is a %s", name, g.Kind)
		}
	}
	if g := byPath(t, all, "data/06-file-replaced"); string(g.content) != "new content" || g.Size != 11 {
		t.Errorf("%d bytes: %q", g.Size, g.content)
	}
	if g := byPath(t, all, "data/02-file-to-dir"); !strings.Contains(g.Reason, "directory took its place") {
		t.Error(g.Reason)
	}
}

// The whole source is renamed after it was listed: the open directory is still
// the right one.
func TestRenamedAfterListing(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a": "1", "d/e/f": "2"})
	all := collect(t, open(t, root, after(func() { must(t, os.Rename(root, root+"-elsewhere")) })), nil)
	wantOutcomes(t, all, "data stored", "data/a stored", "data/d stored", "data/d/e stored", "data/d/e/f stored")
}

// A file that a file server has leased to a client is waited for.
func TestLeasedFile(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"leased": "content"})
	path := filepath.Join(root, "leased")
	f := lease(t, path)
	s := open(t, root, Options{})
	over := make(chan []got, 1)
	go func() { over <- collect(t, s, nil) }()
	waitUntilBusy(t, s, path)
	unlease(t, f)
	if g := byPath(t, <-over, "data/leased"); g.Outcome != capstan.OutcomeStored || string(g.content) != "content" {
		t.Errorf("%s %s %q", g.Outcome, g.Reason, g.content)
	}
}

// A system call that hangs holds neither Scan back, nor what Scan left to it.
func TestCancelWhileOpenHangs(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"leased": "content", "other": strings.Repeat("o", smallContent*2)})
	path := filepath.Join(root, "leased")
	f := lease(t, path)
	s := open(t, root, Options{})
	ctx, cancel := contextWithCancel(t)
	over := make(chan error, 1)
	go func() { over <- s.Scan(ctx, nil, discard) }()
	waitUntilBusy(t, s, path)
	cancel(errTest)
	select {
	case err := <-over:
		if err == nil || err.Error() != errTest.Error() {
			t.Error(err)
		}
	case <-time.After(stuckGrace + 5*time.Second):
		t.Error("Scan hangs")
	}
	unlease(t, f)
	for deadline := time.Now().Add(10 * time.Second); openFiles(t, root) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("files are still open")
		}
		<-time.After(10 * time.Millisecond)
	}
}

// lease takes a write lease on a file, which makes every open wait until it is
// given back.
func lease(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	must(t, err)
	return f
}

func unlease(t *testing.T, f *os.File) {
	t.Helper()
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	must(t, err)
	must(t, f.Close())
}

func waitUntilBusy(t *testing.T, s *Source, path string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if host, since := s.Busy(); host == path && time.Since(since) > 50*time.Millisecond {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Error("the scan does not say that it waits for the file")
}

// strangerTree names the tree that the test binary scans when it runs again as
// an unprivileged user.
const strangerTree = "CAPSTAN_TEST_TREE"

func TestPermissionDenied(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"denied": "secret", "locked/x": "", "listed-only/x": "", "open": "fine", "searchable/x": "", "tiny/ok": "",
	})
	must(t, os.Chmod(filepath.Join(root, "denied"), 0o600))
	must(t, os.Chmod(filepath.Join(root, "locked"), 0o700))
	must(t, os.Chmod(filepath.Join(root, "listed-only"), 0o744)) // no search: names, nothing else
	must(t, os.Chmod(filepath.Join(root, "searchable"), 0o711))  // no listing
	must(t, os.Chmod(filepath.Dir(filepath.Dir(root)), 0o755))
	out, err := runAsStranger(t, root)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const want = `data stored 
data/denied failed open: permission denied
data/listed-only stored 
data/listed-only/x failed open: permission denied
data/locked failed open: permission denied
data/open stored 
data/searchable failed open: permission denied
data/tiny stored 
data/tiny/ok stored 
`
	// The attributes of what could not be opened are told where they are visible.
	if strings.ReplaceAll(string(out), "examine:", "open:") != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// A source that cannot be opened is one failed entry, and not the end of a run
// that has others.
func TestPermissionDeniedForAll(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a": ""})
	must(t, os.Chmod(root, 0o700))
	must(t, os.Chmod(filepath.Dir(filepath.Dir(root)), 0o755))
	out, err := runAsStranger(t, root)
	if err != nil || string(out) != "data failed open: permission denied\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// runAsStranger scans a tree in a process of the user nobody.
func runAsStranger(t *testing.T, root string) ([]byte, error) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	binary, err := os.ReadFile(self)
	must(t, err)
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	copied := filepath.Join(dir, "scan")
	must(t, os.WriteFile(copied, binary, 0o755))
	command := exec.CommandContext(t.Context(), copied)
	command.Env = []string{strangerTree + "=" + root}
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return command.CombinedOutput()
}
