//go:build unix

package process

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"capstan/internal/capstantest/slowfs"
)

// TestMain lets the test binary be a program with a child; see TestChildDiesWithItsParent.
func TestMain(m *testing.M) {
	if slowfs.Served() {
		return
	}
	if os.Getenv("CAPSTAN_TEST_PARENT") != "" {
		_, _ = Run(context.Background(), Command{Path: "sh", Args: []string{"-c", "echo $$; exec sleep 300"}, Stdout: printer{}})
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// printer is the parent's output; a Command must not be given os.Stdout itself.
type printer struct{}

func (printer) Write(p []byte) (int, error) { return os.Stdout.Write(p) }

// sh is a command of the shell.
func sh(script string) Command { return Command{Path: "sh", Args: []string{"-c", script}} }

// eventually waits for something that another process brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("%s did not happen", what)
		}
	}
}
