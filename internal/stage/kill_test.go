package stage

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"capstan/internal/disk"
)

const (
	killPath = "CAPSTAN_TEST_KILL_PATH"
	killStep = "CAPSTAN_TEST_KILL_STEP"
)

// TestKilledChild is the child of TestKill, and does nothing by itself.
func TestKilledChild(t *testing.T) {
	path := os.Getenv(killPath)
	if path == "" {
		return
	}
	step, err := strconv.Atoi(os.Getenv(killStep))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	var got progress
	tell := func(at string) {
		fmt.Printf("\nat %s %v %v %v\n", strings.ReplaceAll(at, " ", "-"), got.sealed, got.removing, got.removed)
		_, _ = io.Copy(io.Discard, os.Stdin) // until the kill
	}
	err = journey(t.Context(), path, Options{FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, _ string, _ int) error {
		if count++; count == step+1 {
			tell(string(op))
		}
		return nil
	})}}, &got)
	if err != nil {
		t.Fatal(err)
	}
	tell("end")
}

// The process is killed before each step in turn. A sealed name never leads to
// half a file, what was confirmed is there, nothing stays held, and the next run
// goes on.
func TestKill(t *testing.T) {
	t.Parallel()
	for step := 0; ; step++ {
		path := filepath.Join(memory(t), "stage")
		at, got := killAt(t, path, step)
		where := fmt.Sprintf("killed at step %d (%s)", step, at)
		goOn(t, path, where, got)
		if at == "end" {
			if !got.removed {
				t.Errorf("%s: %+v", where, got)
			}
			return
		}
	}
}

// killAt runs the journey in a child, kills it before the given step, and tells
// which one that was and what the journey was told until then.
func killAt(t *testing.T, path string, step int) (at string, got progress) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledChild$", "-test.timeout=60s")
	child.Env = append(os.Environ(), killPath+"="+path, killStep+"="+strconv.Itoa(step))
	stdin, err := child.StdinPipe() // open for as long as the child shall wait
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(stdout); at == "" && lines.Scan(); {
		said += lines.Text() + "\n"
		if _, err := fmt.Sscanf(lines.Text(), "at %s %t %t %t", &at, &got.sealed, &got.removing, &got.removed); err != nil {
			at = ""
		}
	}
	if at == "" {
		t.Errorf("the child ended by itself: %s", said)
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the child was not killed")
	}
	if at == "" {
		t.FailNow()
	}
	return at, got
}
