package dir

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
	var committed bool
	err = journey(t, path, disk.FaultFunc(func(op disk.Op, _ string, _ int) error {
		if count++; count == step+1 {
			fmt.Printf("\nat %s\n", op)
			_, _ = io.Copy(io.Discard, os.Stdin) // until the kill
		}
		return nil
	}), &committed)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Print("\nat the end\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// The process is killed before each step in turn: a finished name never leads
// to half a file, and the next run goes on.
func TestKill(t *testing.T) {
	t.Parallel()
	for step := 0; ; step++ {
		path := filepath.Join(t.TempDir(), "volume")
		at := killAt(t, path, step)
		where := fmt.Sprintf("killed at step %d (%s)", step, at)
		final := filepath.Join(path, string(testSet), testName)
		content, err := os.ReadFile(final)
		if err == nil {
			if string(content) != sweepContent {
				t.Errorf("%s: %q", where, content)
			}
			if err := os.Remove(final); err != nil {
				t.Fatal(err)
			}
		}
		if at == "the end" {
			if err != nil {
				t.Errorf("%s: %v", where, err)
			}
			return
		}
		goOn(t, path, where)
	}
}

// killAt runs the journey in a child, kills it before the given step, and tells
// which one that was.
func killAt(t *testing.T, path string, step int) string {
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
	at, said := "", ""
	for lines := bufio.NewScanner(stdout); at == "" && lines.Scan(); {
		said += lines.Text() + "\n"
		at, _ = strings.CutPrefix(lines.Text(), "at ")
		if !strings.HasPrefix(lines.Text(), "at ") {
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
	return at
}
