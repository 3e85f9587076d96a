package slowfs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/slowfs"
)

// These tests state what Linux and Go do with a process that waits for a filesystem
// which does not answer; what Capstan can and cannot do about it follows from them.
// Network filesystems are kinder than FUSE in one respect: SIGKILL ends the wait.

// moment is how long something that hangs is watched.
const moment = 300 * time.Millisecond

// The environment that makes the test binary a writer.
const (
	writerVariable = "CAPSTANTEST_WRITER" // the file to write
	lockVariable   = "CAPSTANTEST_LOCK"   // the file to lock
)

// writer locks one file and opens another, and does what it is told on its
// standard input, in the background where that hangs. It says what it has done.
func writer(path string) int {
	lock, err := os.OpenFile(os.Getenv(lockVariable), os.O_RDWR, 0)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	var file *os.File
	if err == nil {
		file, err = os.Create(path)
	}
	fmt.Println("opened:", err)
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		order := orders.Text()
		if order == "exit" {
			return 3
		}
		go func() {
			var err error
			switch order {
			case "write":
				_, err = file.Write(make([]byte, 4096))
			case "deadline":
				err = file.SetWriteDeadline(time.Now())
			case "close":
				err = file.Close()
			case "start":
				err = exec.CommandContext(context.Background(), "/bin/true").Run()
			case "unlock":
				err = unix.Flock(int(lock.Fd()), unix.LOCK_UN)
			}
			fmt.Printf("%s: %v\n", order, err)
		}()
	}
	return 0
}

// child is a running writer.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	orders *os.File
	lines  chan string
	ended  chan error
	lock   string
}

// startWriter starts a writer; it ends with the test, and the mount with it.
func startWriter(t *testing.T, m *slowfs.Mount) *child {
	t.Helper()
	c := &child{t: t, lines: make(chan string, 100), ended: make(chan error, 1), lock: filepath.Join(t.TempDir(), "lock")}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, orders, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.cmd = exec.CommandContext(t.Context(), program)
	c.cmd.Env = append(os.Environ(), writerVariable+"="+filepath.Join(m.Dir, "file"), lockVariable+"="+c.lock)
	c.cmd.Stdin, c.orders = in, orders
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err := errors.Join(err, in.Close()); err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			c.lines <- lines.Text()
		}
		c.ended <- c.cmd.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		m.End() // else it might never end
		_ = errors.Join(orders.Close(), c.cmd.Process.Kill())
		for range c.ended { // until it is closed
		}
	})
	c.says("opened: <nil>")
	return c
}

func (c *child) order(what string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.orders, what); err != nil {
		c.t.Error(err)
	}
}

// says expects a line, which may have more in its middle.
func (c *child) says(words string) {
	c.t.Helper()
	timer := time.NewTimer(verdict)
	defer timer.Stop()
	select {
	case line := <-c.lines:
		if begin, end, _ := strings.Cut(words, "…"); !strings.HasPrefix(line, begin) || !strings.HasSuffix(line, end) {
			c.t.Errorf("it says %q, want %q", line, words)
		}
	case <-timer.C:
		c.t.Errorf("it does not say %q", words)
	}
}

// silent expects no line, and no end, for a moment.
func (c *child) silent() {
	c.t.Helper()
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case line := <-c.lines:
		c.t.Errorf("it says %q", line)
	case err := <-c.ended:
		c.t.Errorf("it has ended: %v", err)
	case <-timer.C:
	}
}

// endsWith expects the end of the process.
func (c *child) endsWith(want string) {
	c.t.Helper()
	if err := done(c.t, c.ended); err == nil || err.Error() != want {
		c.t.Errorf("it ends with %v, want %s", err, want)
	}
}

// sleeps waits until a thread of the writer is in an uninterruptible sleep.
func (c *child) sleeps() {
	c.t.Helper()
	deadline := time.NewTimer(verdict)
	defer deadline.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !strings.Contains(c.threads(), "D") {
		select {
		case <-poll.C:
		case <-deadline.C:
			c.t.Fatalf("threads %s, want one in D", c.threads())
		}
	}
}

// threads gives the states of the writer's threads, a letter each.
func (c *child) threads() (states string) {
	c.t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, path := range paths {
		stat, _ := os.ReadFile(path) // it may have ended
		if _, rest, ok := strings.Cut(string(stat), ") "); ok {
			states += rest[:1]
		}
	}
	return states
}

// locked reports whether the writer's lock is held.
func (c *child) locked() bool {
	c.t.Helper()
	file, err := os.Open(c.lock)
	if err != nil {
		c.t.Fatal(err)
	}
	defer file.Close()
	return errors.Is(unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// held starts a writer whose write the server has taken and does not answer.
func held(t *testing.T) (*child, *slowfs.Mount, *slowfs.Active) {
	t.Helper()
	m := begin(t)
	rule := m.Add(slowfs.Rule{Op: slowfs.Write, Hold: true})
	c := startWriter(t, m)
	c.order("write")
	hit(t, rule)
	c.silent()
	return c, m, rule
}

// TestHeldWriteInGo: neither a deadline nor Close ends a write that hangs. Go
// takes files of FUSE for pollable, so that a deadline is accepted and does nothing,
// and Close waits for the write.
func TestHeldWriteInGo(t *testing.T) {
	t.Parallel()
	c, _, rule := held(t)
	c.order("deadline")
	c.says("deadline: <nil>")
	c.order("close")
	c.silent()
	rule.End()
	for range 2 {
		c.says("…: <nil>") // write and close, in any order
	}
}

// TestHeldWriteOutlivesExit: a process whose thread waits for an answer does not
// end, neither by exit nor by SIGKILL: it is a zombie that cannot be waited for,
// and its file locks are not free.
func TestHeldWriteOutlivesExit(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(*child){
		"exit status 3":  func(c *child) { c.order("exit") },
		"signal: killed": func(c *child) { _ = c.cmd.Process.Signal(unix.SIGKILL) },
	} {
		c, _, rule := held(t)
		end(c)
		c.sleeps()
		c.silent()
		if threads := c.threads(); threads != "ZD" {
			t.Errorf("threads %s", threads)
		}
		if !c.locked() {
			t.Error("the lock is free")
		}
		rule.End()
		c.endsWith(how)
		if c.locked() {
			t.Error("the lock is held by nobody")
		}
	}
}

// TestUnlockBeforeExit: a lock that is given up before the exit is free, however
// long the process lingers.
func TestUnlockBeforeExit(t *testing.T) {
	t.Parallel()
	c, _, rule := held(t)
	c.order("unlock")
	c.says("unlock: <nil>")
	c.order("exit")
	c.sleeps()
	if c.locked() {
		t.Error("the lock is held")
	}
	rule.End()
	c.endsWith("exit status 3")
}

// TestForcedUnmountFrees: umount -f sets whoever waits free with an error, though
// it fails itself while the mount is in use.
func TestForcedUnmountFrees(t *testing.T) {
	t.Parallel()
	c, m, _ := held(t)
	if err := unix.Unmount(m.Dir, unix.MNT_FORCE); !errors.Is(err, unix.EBUSY) {
		t.Errorf("umount -f: %v", err)
	}
	c.says("write: …software caused connection abort")
	c.order("exit")
	c.endsWith("exit status 3")
}

// TestStoppedServer: SIGKILL does not end a process that merely has a file of a
// stopped filesystem open. Its exit closes the file, which asks the server, and this
// wait cannot be killed.
func TestStoppedServer(t *testing.T) {
	t.Parallel()
	m := begin(t)
	c := startWriter(t, m)
	m.Stop()
	_ = c.cmd.Process.Signal(unix.SIGKILL)
	c.sleeps()
	c.silent()
	if !c.locked() {
		t.Error("the lock is free")
	}
	m.Continue()
	c.endsWith("signal: killed")
	if c.locked() {
		t.Error("the lock is held by nobody")
	}
}

// TestStartBesideStoppedServer: no process can be started by one that has a file
// of a stopped filesystem open. The child closes its copy before it becomes another
// program, which asks the server; its parent waits for it within os/exec, where no
// context reaches.
func TestStartBesideStoppedServer(t *testing.T) {
	t.Parallel()
	m := begin(t)
	c := startWriter(t, m)
	m.Stop()
	c.order("start")
	c.silent()
	m.Continue()
	c.says("start: <nil>")
}
