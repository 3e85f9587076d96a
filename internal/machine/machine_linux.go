package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootIsUnique: the kernel draws random(4)'s boot_id anew at every boot, for all
// containers of the machine alike.
const bootIsUnique = true

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// hardwareID is machine-id(5), which containers often lack.
func hardwareID() string {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// space names the namespaces in which process numbers (pid_namespaces(7)) and
// CLOCK_BOOTTIME (time_namespaces(7)) mean the same.
func space() string {
	var names []string
	for _, kind := range []string{"pid", "time"} {
		if name, err := os.Readlink("/proc/self/ns/" + kind); err == nil { // an old kernel has no such kind
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// Boot is the time since the machine booted, with the time that it was suspended
// (CLOCK_BOOTTIME).
func Boot() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err) // every Linux since 2.6.39 has it
	}
	return time.Duration(now.Nano())
}

// look reads the state and the start time (in ticks since boot) of a process
// from /proc/PID/stat, proc_pid_stat(5).
func look(pid int) (processState, string, error) {
	if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
		return stateGone, "", nil
	}
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat") // not to be read by others where /proc is mounted with hidepid
	if err != nil {
		return stateAlive, "", err
	}
	// The name, in brackets, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, start = 0, 19 // the third and the 22nd field
	if len(fields) <= start {
		return stateAlive, "", fmt.Errorf("%s/stat has %d fields", dir, len(fields))
	}
	if fields[state] == "X" || fields[state] == "Z" && lastThread(dir) {
		return stateGone, "", nil
	}
	return stateAlive, fields[start], nil
}

// lastThread reports whether no other thread of a process that has ended is
// left: one that hangs in the kernel may still write.
func lastThread(dir string) bool {
	threads, err := os.ReadDir(dir + "/task")
	return err == nil && len(threads) <= 1 || errors.Is(err, os.ErrNotExist)
}
