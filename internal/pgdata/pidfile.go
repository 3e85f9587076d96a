package pgdata

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// PIDFileLimit is more than postmaster.pid is ever long, in bytes.
const PIDFileLimit = 64 << 10

// The states that a server writes into its pid file (PM_STATUS_…).
const (
	StatusStarting = "starting"
	StatusStopping = "stopping"
	StatusReady    = "ready"
	StatusStandby  = "standby"
)

// PIDFile is the content of postmaster.pid. The server writes the lines one after
// another while it starts, so that the later ones may be missing.
type PIDFile struct {
	PID int // of the postmaster, from 1
	// Single says that it is no postmaster: somebody works on the cluster with
	// postgres --single, or initdb is not through yet.
	Single  bool
	Dir     string    // PGDATA as the server calls it
	Started time.Time // in whole seconds; zero if the line is missing
	Port    int       // 0 if the line is missing
	Socket  string    // directory of the socket; empty if there is none
	Listen  string    // first address that it listens on; empty if there is none
	Status  string    // one of the constants; empty if the line is missing
}

// ParsePIDFile reads the content of postmaster.pid (see miscadmin.h,
// LOCK_FILE_LINE_…).
func ParsePIDFile(data []byte) (PIDFile, error) {
	if len(data) > PIDFileLimit {
		return PIDFile{}, fmt.Errorf("postmaster.pid: %w: it is too long", ErrDamaged)
	}
	lines := strings.Split(string(data), "\n")
	// What comes after the last line end may be half a line.
	lines = lines[:len(lines)-1]
	line := func(number int) string {
		if number > len(lines) {
			return ""
		}
		return strings.TrimSpace(lines[number-1])
	}
	pid, err := strconv.ParseInt(line(1), 10, 32)
	if err != nil || pid == 0 {
		return PIDFile{}, fmt.Errorf("postmaster.pid: %w: its first line %q is no process id", ErrDamaged, cut(line(1)))
	}
	p := PIDFile{PID: int(max(pid, -pid)), Single: pid < 0, Dir: line(2), Socket: line(5), Listen: line(6)}
	if p.PID <= 0 || p.PID > 1<<22 { // PID_MAX_LIMIT of Linux
		return PIDFile{}, fmt.Errorf("postmaster.pid: %w: process id %d", ErrDamaged, pid)
	}
	if text := line(3); text != "" {
		epoch, err := strconv.ParseInt(text, 10, 64)
		if err != nil || epoch <= 0 || epoch > 1<<40 {
			return PIDFile{}, fmt.Errorf("postmaster.pid: %w: its third line %q is no time", ErrDamaged, cut(text))
		}
		p.Started = time.Unix(epoch, 0)
	}
	if text := line(4); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return PIDFile{}, fmt.Errorf("postmaster.pid: %w: its fourth line %q is no port", ErrDamaged, cut(text))
		}
		p.Port = int(port)
	}
	switch status := line(8); status {
	case "", StatusStarting, StatusStopping, StatusReady, StatusStandby:
		p.Status = status
	default:
		return PIDFile{}, fmt.Errorf("postmaster.pid: %w: unknown status %q", ErrDamaged, cut(status))
	}
	return p, nil
}

// cut keeps a message short, whatever the file holds.
func cut(text string) string {
	const enough = 40
	if len(text) > enough {
		return text[:enough]
	}
	return text
}
