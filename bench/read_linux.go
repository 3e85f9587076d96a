package main

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"capstan"
)

// bytesRead waits until a child has ended, leaves it to be waited for, and gives what
// it has asked read(2) and the like for and got (rchar in proc_pid_io(5)); 0 where
// the kernel does not say.
func bytesRead(pid int) capstan.Bytes {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return 0
		}
	}
	n, err := strconv.ParseInt(procField(fmt.Sprintf("/proc/%d/io", pid), "rchar"), 10, 64)
	if err != nil {
		return 0
	}
	return capstan.Bytes(n)
}
