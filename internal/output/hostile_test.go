//go:build linux

package output

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"capstan"
)

// proof is what a played command left.
type proof struct {
	worked, total time.Duration
	dropped       int64
	text          string
}

// scene prepares this test binary as a command.
func scene(t *testing.T, name string) (cmd *exec.Cmd, end func() proof) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proof")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "CAPSTAN_TEST_SCENE="+name, "CAPSTAN_TEST_PROOF="+file, "TERM=xterm")
	return cmd, func() proof {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("the command did not end well: %v", err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var worked, total, dropped int64
		if _, err := fmt.Sscan(string(data), &worked, &total, &dropped); err != nil {
			t.Fatal(err)
		}
		return proof{time.Duration(worked) * time.Millisecond, time.Duration(total) * time.Millisecond, dropped, string(data)}
	}
}

// start starts a command and gives the ends that only it should have to it alone.
func start(t *testing.T, cmd *exec.Cmd, theirs ...*os.File) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range theirs {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The reason for this package: work under a terminal that nobody reads goes on, and
// ends.
func TestUnreadTerminal(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"text", "json", "paint"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			cmd, end := scene(t, name)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
			start(t, cmd, tty)
			p := end()
			if p.worked > 60*time.Second {
				t.Errorf("the work took %v", p.worked)
			}
			if end := p.total - p.worked; end < 900*time.Millisecond || end > 30*time.Second {
				t.Errorf("the end took %v, not about one second", end)
			}
			if p.dropped < 5000 || !strings.Contains(p.text, "summary: <nil>") {
				t.Errorf("left: %s", p.text)
			}
		})
	}
}

// A terminal that is read gets the messages, the view and the summary, and is left clean.
func TestReadTerminal(t *testing.T) {
	t.Parallel()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 30, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	cmd, end := scene(t, "paint")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	start(t, cmd, tty)
	screen := newGlass(60, 30)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 32<<10)
		for {
			n, err := master.Read(buf)
			_, _ = screen.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	p := end()
	<-read
	if p.total-p.worked > 30*time.Second {
		t.Errorf("the end took %v", p.total-p.worked)
	}
	text := screen.text(t)
	if !strings.HasSuffix(text, "complete\n") || strings.Contains(text, "entries") {
		t.Errorf("the terminal ends with %q", text[max(0, len(text)-300):])
	}
	if got := int64(strings.Count(text, "message 0")); got+p.dropped != 10_000 {
		t.Errorf("%d messages shown, %d dropped", got, p.dropped)
	}
}

func TestClosedStreams(t *testing.T) {
	t.Parallel()
	cmd, end := scene(t, "text")
	cmd.Args = []string{"sh", "-c", `exec "$0" >&- 2>&-`, cmd.Path}
	cmd.Path = "/bin/sh"
	start(t, cmd)
	if p := end(); p.total > 60*time.Second {
		t.Errorf("it took %v", p.total)
	}
}

// A reader that goes away neither kills the work nor stops it; the lost summary is told.
func TestBrokenPipe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"text", "json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd, end := scene(t, name)
			cmd.Stdout, cmd.Stderr = w, w
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			start(t, cmd, w)
			p := end()
			if p.dropped < 10_000 || !strings.Contains(p.text, "broken pipe") {
				t.Errorf("left: %s", p.text)
			}
		})
	}
}

// Events are lossy, the summary is not: it waits for a slow reader and is whole.
func TestSlowPipeGetsTheSummary(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd, end := scene(t, "json")
	cmd.Stdout = w
	start(t, cmd, w)
	<-time.After(4 * time.Second) // longer than the printer's patience
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	p := end()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if last := lines[len(lines)-1]; last != `{"status":"complete","type":"summary"}` {
		t.Errorf("the last line is %q", last)
	}
	if p.total < 1100*time.Millisecond || p.dropped == 0 {
		t.Errorf("left: %s", p.text)
	}
	events := 0
	for _, line := range lines {
		if strings.Contains(line, `"begin"`) {
			if !json.Valid([]byte(line)) {
				t.Errorf("torn line %q", line)
			}
			events++
		}
	}
	if events == 0 || events == 10_000 {
		t.Errorf("%d events", events)
	}
}

// A background job on a terminal with "stty tostop" is stopped by its first word,
// unless SIGTTOU is ignored.
func TestBackgroundJobWithTostop(t *testing.T) {
	t.Parallel()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	go func() {
		buf := make([]byte, 32<<10)
		for {
			if _, err := master.Read(buf); err != nil {
				return
			}
		}
	}()
	cmd, end := scene(t, "text")
	cmd.Args = []string{"sh", "-c", `stty tostop; set -m; "$0" & wait "$!"`, cmd.Path}
	cmd.Path = "/bin/sh"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	start(t, cmd, tty)
	if p := end(); p.total > 60*time.Second {
		t.Errorf("it took %v", p.total)
	}
}

// Children must not inherit an ignored SIGPIPE: their pipelines rely on it.
func TestChildrenKeepTheirBrokenPipes(t *testing.T) {
	undo := KeepRunning()
	defer undo()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "grep SigIgn /proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	var ignored uint64
	if _, err := fmt.Sscanf(string(out), "SigIgn: %x", &ignored); err != nil {
		t.Fatal(err)
	}
	if ignored&(1<<(uint(syscall.SIGPIPE)-1)) != 0 {
		t.Errorf("a child ignores SIGPIPE: %s", out)
	}
	undo()
	if signal.Ignored(syscall.SIGTTOU) {
		t.Error("SIGTTOU is still ignored")
	}
}

func TestLogFileThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, filepath.Join(dir, "no", "dir"), dir} {
		_, err := NewPrinter(Options{LogFile: path})
		var told *capstan.Error
		if !errors.As(err, &told) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
