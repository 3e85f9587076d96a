package pg

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"capstan/internal/pgdata"
)

// ErrGone reports a process that has ended, or whose number another process has by
// now, since it was looked at.
var ErrGone = errors.New("the process has ended since it was looked at")

// Process is a process at the moment when it was looked at.
type Process struct {
	PID, PPID int
	Session   int    // the session's id
	Terminal  bool   // it has a controlling terminal
	Start     uint64 // in clock ticks since the machine started: with PID, the process's identity
	Dead      bool   // it has ended and was not waited for yet (a zombie)
	Title     string // its command line; arguments are separated by zero bytes
}

// Child is a process that the postmaster has started.
type Child struct {
	Process
	Role Role
}

// Presence says what became of the process that postmaster.pid names.
type Presence string

// What the process of a pid file can be.
const (
	Absent  Presence = "absent"  // there is no pid file
	Dead    Presence = "dead"    // the process is not there any more, or a zombie
	Alive   Presence = "alive"   // it is the cluster's server
	Foreign Presence = "foreign" // it is something else, or cannot be shown to be the server
)

// Server is the server of a cluster at the moment when it was looked at.
type Server struct {
	Presence Presence
	File     pgdata.PIDFile // zero if Absent
	Process  Process        // the postmaster, if Alive; its number here, where the pid file is of another PID namespace
	Why      string         // of Foreign: what is wrong with the process
}

// startSlack is how far a process's start may be from the time that it wrote into
// its pid file: both are whole seconds of clocks that are read one after another.
const startSlack = 10 * time.Second

// parseStat reads /proc/PID/stat, see proc(5). The name in it is the process's own
// choice and may hold anything.
func parseStat(data []byte) (Process, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 1 || end < open {
		return Process{}, errors.New("no name")
	}
	fields := bytes.Fields(data[end+1:])
	const state, ppid, session, tty, start = 0, 1, 3, 4, 19
	if len(fields) <= start {
		return Process{}, fmt.Errorf("%d fields", len(fields))
	}
	p := Process{Dead: bytes.ContainsAny(fields[state], "ZXx"), Terminal: string(fields[tty]) != "0"}
	var errs [4]error
	p.PID, errs[0] = strconv.Atoi(string(bytes.TrimSpace(data[:open])))
	p.PPID, errs[1] = strconv.Atoi(string(fields[ppid]))
	p.Session, errs[2] = strconv.Atoi(string(fields[session]))
	p.Start, errs[3] = strconv.ParseUint(string(fields[start]), 10, 64)
	return p, errors.Join(errs[:]...)
}

// same reports whether two looks saw one process, still the child of its parent.
func (p Process) same(now Process) bool {
	return p.PID == now.PID && p.Start == now.Start && p.PPID == now.PPID
}
