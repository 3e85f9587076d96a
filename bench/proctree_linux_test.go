package main

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"capstan"
)

// Of a process that has others at work beside it, all count.
func TestTreePeak(t *testing.T) {
	t.Parallel()
	const large = "dd if=/dev/zero bs=60M count=1 2>/dev/null | sleep 600 &" // holds 60 MiB, which nobody takes
	cmd := exec.CommandContext(t.Context(), "sh", "-c", large+large+" wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watched := watchTree(cmd.Process.Pid)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		peak := treePeak(cmd.Process.Pid)
		if peak >= 120*capstan.MiB && peak < 200*capstan.MiB {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("two that hold 60 MiB each come to %v", peak)
			break
		}
		<-time.After(treeLook)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if most := watched(); most > 200*capstan.MiB {
		t.Errorf("the peak was %v", most)
	}
}
