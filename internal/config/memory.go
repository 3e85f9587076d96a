package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"capstan"
)

// The bounds of the default memory budget.
const (
	maxMemory = 128 * capstan.MiB
	minMemory = 16 * capstan.MiB
)

// DefaultMemory is the budget for the buffers of a run where --memory says
// nothing: half the cgroup's limit, at most 128 MiB and at least 16 MiB.
func DefaultMemory() capstan.Bytes {
	limit, ok := CgroupLimit()
	if !ok {
		return maxMemory
	}
	return max(min(limit/2, maxMemory), minMemory)
}

// CgroupLimit is the memory limit of the control group that this process runs
// in, version 2 or 1; ok is false where there is none.
func CgroupLimit() (limit capstan.Bytes, ok bool) {
	return cgroupLimit("/sys/fs/cgroup", "/proc/self/cgroup")
}

// cgroupLimit takes the tightest limit from the process's own group up to the
// root, since any ancestor's limit holds as well.
func cgroupLimit(mount, membership string) (limit capstan.Bytes, ok bool) {
	text, err := os.ReadFile(membership)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		root, file := mount, "memory.max"
		if fields[1] != "" {
			if !strings.Contains(","+fields[1]+",", ",memory,") {
				continue
			}
			root, file = filepath.Join(mount, "memory"), "memory.limit_in_bytes"
		}
		for dir := filepath.Clean("/" + fields[2]); ; dir = filepath.Dir(dir) {
			if n, found := readLimit(filepath.Join(root, dir, file)); found && (!ok || n < limit) {
				limit, ok = n, true
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit, ok
}

func readLimit(path string) (capstan.Bytes, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	// Version 1 states "no limit" as a number near the largest.
	if err != nil || n <= 0 || capstan.Bytes(n) >= 1<<20*capstan.GiB {
		return 0, false
	}
	return capstan.Bytes(n), true
}
