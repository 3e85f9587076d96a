package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"capstan"
)

// treeLook is the time between two looks at a tree of processes.
const treeLook = 10 * time.Millisecond

// watchTree looks at a process and all that it starts, until the function that it
// returns is called. That one gives the largest sum of the peaks (VmHWM in
// proc_pid_status(5)) of those that lived at the same time.
func watchTree(pid int) (end func() capstan.Bytes) {
	over, looked := make(chan struct{}), make(chan struct{})
	var most capstan.Bytes
	go func() {
		defer close(looked)
		ticker := time.NewTicker(treeLook)
		defer ticker.Stop()
		for {
			most = max(most, treePeak(pid))
			select {
			case <-over:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() capstan.Bytes {
		close(over)
		<-looked
		return most
	}
}

// treePeak sums the peaks of a process and of its descendants; whoever has gone counts
// nothing.
func treePeak(pid int) capstan.Bytes {
	text, _, _ := strings.Cut(procField(fmt.Sprintf("/proc/%d/status", pid), "VmHWM"), " ")
	kib, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	sum := capstan.Bytes(kib) * capstan.KiB
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list) // it may have gone
		for child := range strings.FieldsSeq(string(children)) {
			if number, err := strconv.Atoi(child); err == nil {
				sum += treePeak(number)
			}
		}
	}
	return sum
}
