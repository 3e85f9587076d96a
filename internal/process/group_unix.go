//go:build unix

package process

import (
	"os"
	"os/exec"
	"syscall"
)

// group is the session and process group of a child; its id is the child's pid.
type group struct{ pid int }

// newGroup makes the child the leader of a new session. It then has no controlling
// terminal: a program that opens /dev/tty to ask for a password fails at once
// instead of being stopped (SIGTTIN) or waiting for a key.
func newGroup(cmd *exec.Cmd, as *Account) (*group, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Who is that user already cannot set his groups, and need not.
	if as != nil && int(as.UID) != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.UID, Gid: as.GID, Groups: as.Groups}
	}
	setDeathSignal(cmd.SysProcAttr)
	return &group{}, nil
}

func (g *group) adopt(p *os.Process) { g.pid = p.Pid }

func (g *group) terminate() { g.signal(syscall.SIGTERM) }

func (g *group) kill() { g.signal(syscall.SIGKILL) }

// signal reaches every process of the group; none is there any more (ESRCH) is what
// is wanted, and one that must not be signalled (EPERM) shows in the wait for its end.
func (g *group) signal(s syscall.Signal) { _ = syscall.Kill(-g.pid, s) }

func (g *group) close() {}

// endingSignal names the signal that ended a child; empty if none did.
func endingSignal(state *os.ProcessState) string {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal().String()
	}
	return ""
}

func isStandard(fd uintptr) bool { return fd <= 2 }
