package machine

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// bootIsUnique: kern.bootsessionuuid is drawn anew at every boot.
const bootIsUnique = true

func bootID() (string, error) { return unix.Sysctl("kern.bootsessionuuid") }

// hardwareID is the UUID of the machine's board.
func hardwareID() string {
	id, err := unix.Sysctl("kern.uuid")
	if err != nil {
		return ""
	}
	return id
}

func space() string { return "" }

// Boot is the time since the machine booted. On macOS CLOCK_MONOTONIC goes on
// while the machine sleeps (clock_gettime(3)).
func Boot() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // every macOS since 10.12 has it
	}
	return time.Duration(now.Nano())
}

// stateZombie is SZOMB of sys/proc.h.
const stateZombie = 5

func look(pid int) (processState, string, error) {
	if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
		return stateGone, "", nil
	}
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return stateAlive, "", err
	}
	if info.Proc.P_stat == stateZombie {
		return stateGone, "", nil
	}
	return stateAlive, fmt.Sprintf("%d.%06d", info.Proc.P_starttime.Sec, info.Proc.P_starttime.Usec), nil
}
