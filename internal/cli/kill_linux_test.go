package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/slowfs"
)

// killedAt runs the program and kills it at the operation of a mount that meets the
// rule: it is held until the process is dead. Then it fails, so that it has never been
// done, or was done before (Late). It is false if the program ended before; then that
// is its end.
func (f *field) killedAt(m *slowfs.Mount, rule slowfs.Rule, begin func(*exec.Cmd) error, args ...string) (killed bool, e ended) {
	f.t.Helper()
	rule.Hold = true
	if !rule.Late {
		rule.Errno = unix.EIO // for a process that is dead
	}
	hold := m.Add(rule)
	defer hold.End()
	program := f.launch(f.command(context.Background(), args...), begin)
	if _, ok := program.hits(hold); !ok {
		return false, program.end()
	}
	program.kill(hold)
	return true, ended{}
}

// kill kills the program while a rule holds one of its operations, and lets that go when
// the program is dead.
func (p *program) kill(hold *slowfs.Active) {
	p.t.Helper()
	p.endedBy(unix.SIGKILL, hold)
	if e := p.end(); e.code != -1 {
		p.t.Errorf("exit %d of a process that was killed:\n%s%s", e.code, e.out, e.err)
	}
}

// doomed reports whether nothing of a killed process runs but what waits
// uninterruptibly.
func (p *program) doomed() bool { return p.only("DZX") }

// only reports whether all threads are in one of these states of proc(5).
func (p *program) only(states string) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, thread := range threads {
		stat, _ := os.ReadFile(thread) // it may have ended
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && !strings.ContainsRune(states, rune(rest[0])) {
			return false
		}
	}
	return true
}

// seeing starts a process to which dir is what another directory holds, and to nobody
// else: in a mount namespace of its own, which ends with it.
func seeing(other, dir string) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) (err error) {
		onThread(func() {
			err = unix.Unshare(unix.CLONE_NEWNS)
			if err == nil {
				err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
			}
			if err == nil {
				err = unix.Mount(other, dir, "", unix.MS_BIND, "")
			}
			if err == nil {
				err = cmd.Start()
			}
		})
		return err
	}
}

// onThread does something on a thread that ends with it, so that nobody else comes
// into its namespace. The first thread of a process does not end, and is not taken.
func onThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good
		if unix.Gettid() != unix.Getpid() {
			do()
			return
		}
		onThread(do) // on another one, as this one is held
		runtime.UnlockOSThread()
	}()
	<-done
}
