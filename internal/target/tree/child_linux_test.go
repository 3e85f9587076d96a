package tree

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
)

// These tests run the test binary again, as another user or to be killed. The
// child finds here where to restore to.
const childTarget = "CAPSTAN_TREE_TEST_TARGET"

// child prepares a second run of the calling test, in a directory that everyone
// can reach.
func child(t *testing.T) (cmd *exec.Cmd, dir string) {
	t.Helper()
	dir = t.TempDir()
	run(t, "chmod", "755", dir, filepath.Dir(dir))
	run(t, "cp", os.Args[0], dir+"/test")
	run(t, "chmod", "755", dir+"/test")
	cmd = exec.CommandContext(t.Context(), dir+"/test", "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), childTarget+"="+dir+"/target", "TMPDIR="+dir+"/tmp")
	for _, at := range []string{"/target", "/tmp"} {
		if err := errors.Join(os.Mkdir(dir+at, 0o700), os.Chown(dir+at, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	return cmd, dir
}

// TestAsNobody restores without any privilege: what is not permitted is said
// once, and nothing becomes setuid for somebody else.
func TestAsNobody(t *testing.T) {
	if target, ok := os.LookupEnv(childTarget); ok {
		for name, naming := range namings() {
			asNobody(t, filepath.Join(target, strings.ReplaceAll(name, " ", "-")), naming)
		}
		return
	}
	cmd, dir := child(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte("PASS")) {
		t.Fatalf("%v\n%s", err, out)
	}
	got := run(t, "bash", "-c", `cd "$1" && find . -printf "%P %y %m %U:%G %T@\n" | sort`, "bash", dir+"/target/through-proc")
	want := ` d 700 65534:65534 `
	for _, line := range []string{
		"d d 555 65534:65534 5.0000000000", "d/fifo p 622 65534:65534 5.0000000000", "d/mine f 6755 65534:65534 5.0000000000",
		"d/read-only f 444 65534:65534 5.0000000000", "d/root f 755 65534:65534 5.0000000000", "d/symlink l 777 65534:65534 5.0000000000",
		"d/twin f 444 65534:65534 5.0000000000", want,
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 8 {
		t.Errorf("%d lines:\n%s", n, got)
	}
}

func asNobody(t *testing.T, target string, naming linkMethod) {
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	tree := open(t, target, Options{Overwrite: true})
	if tree.naming == linkNever {
		t.Error("no way to link a file without privileges")
	}
	// By descriptor needs a capability, or Linux 6.10 and a file of one's own.
	if naming != linkByFD || tree.naming == linkByFD {
		tree.naming = naming
	}
	at := time.Unix(5, 0)
	// Twice: the second time into a directory that is read-only by then.
	for range 2 {
		if err := tree.Dir(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		for path, e := range map[string]capstan.Entry{
			"d/root":      {Kind: capstan.KindFile, Mode: 0o6755, Xattrs: []capstan.Xattr{{Name: "trusted.x"}, {Name: "security.test", Value: []byte("x")}}},
			"d/mine":      {Kind: capstan.KindFile, Mode: 0o6755, UID: 65534, GID: 65534},
			"d/read-only": {Kind: capstan.KindFile, Mode: 0o444, UID: 65534, GID: 65534, Xattrs: []capstan.Xattr{{Name: "user.x", Value: []byte("y")}}},
			"d/fifo":      {Kind: capstan.KindFifo, Mode: 0o622, UID: 65534, GID: 65534},
			"d/symlink":   {Kind: capstan.KindSymlink, Link: "root"},
		} {
			e.ModTime = at
			if err := tree.Place(t.Context(), path, &e, strings.NewReader("")); err != nil {
				t.Error(err)
			}
		}
		if err := tree.Link(t.Context(), "d/twin", "d/read-only"); err != nil {
			t.Error(err)
		}
		device := capstan.Entry{Kind: capstan.KindCharDevice, Mode: 0o666, Major: 1, Minor: 3}
		if err := tree.Place(t.Context(), "d/null", &device, nil); !errors.Is(err, capstan.ErrIncomplete) {
			t.Errorf("device: %v", err)
		}
		folder := capstan.Entry{Kind: capstan.KindDir, Mode: 0o555, ModTime: at, UID: 7}
		if err := tree.FinishDir(t.Context(), "d", &folder); err != nil {
			t.Error(err)
		}
	}
	value := make([]byte, 9)
	if n, err := unix.Getxattr(target+"/d/read-only", "user.x", value); err != nil || string(value[:n]) != "y" {
		t.Errorf("xattr of a read-only file: %q, %v", value[:max(n, 0)], err)
	}
	want := []string{
		"owners not restored: not running as root (6 entries, first ",
		"setuid or setgid not restored, since the owner was not (2 entries, first d/root)",
		"xattr security.test not restored: not permitted (2 entries, first d/root)",
		"xattr trusted.x not restored: not permitted (2 entries, first d/root)",
	}
	got := tree.Notes()
	slices.Sort(got)
	if len(got) != len(want) {
		t.Fatalf("notes %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("note %q, want %q", got[i], want[i])
		}
	}
	must := true
	strict := open(t, target, Options{Overwrite: true, Owners: &must})
	if err := placeText(t.Context(), strict, "mine", "x"); err != nil {
		t.Error(err)
	}
	e := capstan.Entry{Kind: capstan.KindFile, Mode: 0o644}
	if err := strict.Place(t.Context(), "strict", &e, strings.NewReader("")); !errors.Is(err, unix.EPERM) {
		t.Errorf("owner demanded: %v", err)
	}
	if _, err := os.Lstat(target + "/strict"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file without the demanded owner was left: %v", err)
	}
	if err := os.Remove(target + "/mine"); err != nil {
		t.Error(err)
	}
}

// TestKilled kills a restore that has written most of two files: nothing may be
// under their names, and the old file must still be there.
func TestKilled(t *testing.T) {
	if target, ok := os.LookupEnv(childTarget); ok {
		untilKilled(t, target)
		return
	}
	cmd, dir := child(t)
	if err := os.WriteFile(dir+"/target/old", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if killErr := cmd.Process.Kill(); err != nil || killErr != nil || line != "both are being written\n" {
		t.Errorf("%q, %v, %v", line, err, killErr)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if old, err := os.ReadFile(dir + "/target/old"); string(old) != "old" {
		t.Errorf("the old file holds %q, %v", old, err)
	}
	names, err := os.ReadDir(dir + "/target")
	if err != nil || len(names) != 1 {
		t.Errorf("in the target after the kill: %v, %v", names, err)
	}
}

// untilKilled places two files whose content stops coming.
func untilKilled(t *testing.T, target string) {
	tree := open(t, target, Options{Overwrite: true})
	waiting := make(chan struct{}, 2)
	for _, path := range []string{"old", "new"} {
		go func() {
			left := 8 * chunkSize
			content := readerFunc(func(b []byte) (int, error) {
				n := min(len(b), left)
				left -= n
				if n > 0 {
					return n, nil
				}
				waiting <- struct{}{}
				select {}
			})
			e := capstan.Entry{Kind: capstan.KindFile, Mode: 0o644, Size: 1 << 30}
			_ = tree.Place(t.Context(), path, &e, content)
		}()
	}
	<-waiting
	<-waiting
	_, _ = io.WriteString(os.Stdout, "both are being written\n")
	select {}
}

// TestConcurrent places files in the same few directories from many goroutines,
// with too few descriptors to keep them all open.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	dir := scratch(t)
	tree := open(t, dir, Options{})
	tree.dirs.limit = 3
	failed := make(chan error)
	const workers = 8
	for w := range workers {
		go func() {
			var err error
			for i := range 60 {
				path := fmt.Sprintf("%d/%d", i%7, i%5)
				text := fmt.Sprint(w, i)
				err = errors.Join(err,
					tree.Dir(t.Context(), path),
					placeText(t.Context(), tree, fmt.Sprintf("%s/%d-%d", path, w, i), text),
					tree.Link(t.Context(), fmt.Sprintf("links/%d-%d", w, i), fmt.Sprintf("%s/%d-%d", path, w, i)))
			}
			failed <- err
		}()
	}
	for range workers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	for w := range workers {
		for i := range 60 {
			got, err := os.ReadFile(fmt.Sprintf("%s/links/%d-%d", dir, w, i))
			if string(got) != fmt.Sprint(w, i) {
				t.Errorf("links/%d-%d: %q, %v", w, i, got, err)
			}
		}
	}
	if held := len(tree.dirs.byPath); held > 3 {
		t.Errorf("%d directories open, limit 3", held)
	}
}
