package catalog_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"capstan/internal/capstantest/slowfs"
)

// roleVariable names the environment variable that makes this test binary play
// another process; its arguments follow in the others.
const roleVariable = "CAPSTAN_CATALOG_ROLE"

func TestMain(m *testing.M) {
	if slowfs.Served() {
		return
	}
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// play is the main of another process.
func play(role string, args []string) error {
	switch role {
	case "fill":
		return playFill(context.Background(), args[0], args[1])
	case "lock":
		return playLock(context.Background(), args[0])
	case "import":
		return playImport(context.Background(), args[0])
	}
	return fmt.Errorf("unknown role %q", role)
}

// process is another process that plays a role.
type process struct {
	*exec.Cmd
	lines  *bufio.Scanner
	stderr bytes.Buffer
	stdin  io.WriteCloser
}

// start runs this test binary in a role. It is killed when the test ends.
func start(t *testing.T, role string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.Env = append(os.Environ(), roleVariable+"="+role)
	p.Stderr = &p.stderr
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stdout)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			p.Process.Kill() //nolint:errcheck // it may have ended by itself
			p.Wait()         //nolint:errcheck // it was killed
		}
	})
	return p
}

// line gives the next line that the process printed.
func (p *process) line(t *testing.T) string {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatalf("the other process ended: %v %s", p.lines.Err(), p.stderr.String())
	}
	return p.lines.Text()
}
