package process

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// group is the job object that a child and all its descendants belong to, and its
// console process group. A descendant that is started before adopt is done escapes:
// best effort. While the child lives, the job ends with this program.
type group struct {
	job windows.Handle
	pid uint32
}

func newGroup(cmd *exec.Cmd, as *Account) (*group, error) {
	if as != nil {
		return nil, errors.New("cannot run as another user here")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, os.NewSyscallError("CreateJobObject", err)
	}
	return &group{job: job}, nil
}

// adopt puts a started child into the job; without that, kill reaches the child alone.
func (g *group) adopt(p *os.Process) {
	g.pid = uint32(p.Pid)
	g.limit(windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)
	child, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, g.pid)
	if err != nil {
		return
	}
	_ = windows.AssignProcessToJobObject(g.job, child)
	_ = windows.CloseHandle(child)
}

// terminate sends Ctrl-Break, which reaches a child that shares this program's console.
func (g *group) terminate() {
	_ = windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, g.pid)
}

func (g *group) kill() {
	_ = windows.TerminateJobObject(g.job, 1)
	child, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, g.pid)
	if err != nil {
		return // it has ended
	}
	_ = windows.TerminateProcess(child, 1)
	_ = windows.CloseHandle(child)
}

// close lets what the child left behind live on.
func (g *group) close() {
	g.limit(0)
	_ = windows.CloseHandle(g.job)
}

func (g *group) limit(flags uint32) {
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	info.BasicLimitInformation.LimitFlags = flags
	_, _ = windows.SetInformationJobObject(g.job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
}

func endingSignal(*os.ProcessState) string { return "" }

// isStandard compares with the handles that this program was started with.
func isStandard(fd uintptr) bool {
	for _, number := range []uint32{windows.STD_INPUT_HANDLE, windows.STD_OUTPUT_HANDLE, windows.STD_ERROR_HANDLE} {
		if handle, err := windows.GetStdHandle(number); err == nil && uintptr(handle) == fd {
			return true
		}
	}
	return false
}
