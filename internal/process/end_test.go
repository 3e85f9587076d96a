//go:build unix

package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// lines collects output and lets a test wait for it.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) pids(t *testing.T, n int) (pids []int) {
	t.Helper()
	eventually(t, "the child's word", func() bool { return strings.Count(l.String(), "\n") >= n })
	for _, line := range strings.Split(strings.TrimSpace(l.String()), "\n")[:n] {
		var pid int
		if _, err := fmt.Sscan(line, &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func TestTimeoutEndsAChildPolitely(t *testing.T) {
	t.Parallel()
	c := sh(`trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done`)
	c.Timeout = 500 * time.Millisecond
	r, err := Run(t.Context(), c)
	if !errors.Is(err, ErrTimeout) || r.ExitCode != 7 || string(r.Stdout) != "ready\nbye\n" {
		t.Errorf("%v, result %+v", err, r)
	}
	if !strings.HasPrefix(err.Error(), "sh: timed out after ") {
		t.Errorf("message %q", err)
	}
}

func TestChildThatIgnoresSIGTERMIsKilled(t *testing.T) {
	t.Parallel()
	var out lines
	c := sh(`trap "" TERM; sleep 300 & echo $$; echo $!; while :; do sleep 300; done`)
	c.Stdout, c.Grace = &out, 300*time.Millisecond
	cause := errors.New("the run was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	p, err := Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	pids := out.pids(t, 2)
	if p.PID() != pids[0] {
		t.Errorf("PID %d is not %d", p.PID(), pids[0])
	}
	start := time.Now()
	cancel(cause)
	r, err := p.Wait(t.Context())
	if !errors.Is(err, cause) || r.Signal != "killed" || r.ExitCode != -1 {
		t.Errorf("%v, result %+v", err, r)
	}
	if d := time.Since(start); d < 300*time.Millisecond || d > 60*time.Second {
		t.Errorf("it took %v", d)
	}
	for _, pid := range pids {
		eventually(t, "the end of the whole group", func() bool { return !alive(pid) })
	}
}

// When the child obeys, what it started must not live on.
func TestCancelKillsGrandchildren(t *testing.T) {
	t.Parallel()
	var out lines
	c := sh(`(trap "" TERM; exec sleep 300) & echo $!; sleep 300`)
	c.Stdout = &out
	p, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	pid := out.pids(t, 1)[0]
	if r, err := p.Stop(t.Context()); err != nil || r.Signal != "terminated" {
		t.Errorf("Stop: %v, %+v", err, r)
	}
	eventually(t, "the grandchild's end", func() bool { return !alive(pid) })
	if _, err := p.Wait(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("Wait after Stop: %v", err)
	}
	if _, err := p.Stop(t.Context()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

// A grandchild that keeps the output open neither blocks nor is killed: it may be a
// server that was to be started.
func TestGrandchildThatKeepsTheOutputOpen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		script   string
		streamed bool
	}{
		{"captured", `sleep 300 & echo $!`, false},
		{"streamed", `sleep 300 & echo $!`, true},
		{"flood", `(trap "" PIPE; while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxx 2>/dev/null; done) & echo $!`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out lines
			c := sh(test.script)
			if test.streamed {
				c.Stdout = &out
			}
			c.Keep = 4 << 20
			start := time.Now()
			r, err := Run(t.Context(), c)
			if d := time.Since(start); d > 60*time.Second {
				t.Errorf("it took %v", d)
			}
			if errors.Is(err, ErrHeld) != test.streamed || (err == nil) == test.streamed || !r.Held || r.ExitCode != 0 {
				t.Errorf("%v, exit code %d, held %v", err, r.ExitCode, r.Held)
			}
			var pid int
			text := out.String() + string(r.Stdout)
			for line := range strings.Lines(text) {
				if _, err := fmt.Sscan(line, &pid); err == nil {
					break
				}
			}
			if pid == 0 || !alive(pid) {
				t.Fatalf("the grandchild %d is gone; output %.100q", pid, text)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		})
	}
}

// A writer that blocks for good is left behind once the command was cancelled.
func TestBlockedWriterDoesNotHoldACancelledCommand(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	c := sh(`yes`)
	c.Stdout = writerFunc(func(p []byte) (int, error) { <-release; return len(p), nil })
	c.Timeout = 100 * time.Millisecond
	start := time.Now()
	_, err := Run(t.Context(), c)
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > lastPatience+60*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestStartAndWait(t *testing.T) {
	t.Parallel()
	p, err := Start(t.Context(), sh(`sleep 0.3; echo done; exit 4`))
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("waited enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, cause)
	defer cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, cause) {
		t.Errorf("Wait with a short context: %v", err)
	}
	<-p.Done()
	r, err := p.Stop(t.Context())
	var exit *ExitError
	if !errors.As(err, &exit) || exit.ExitCode != 4 || string(r.Stdout) != "done\n" {
		t.Errorf("Stop after the end: %v, %+v", err, r)
	}
}

func TestNothingIsStartedWithAnEndedContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := Run(ctx, Command{Path: "no-such-tool"}); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}

// When this program is killed, its children end too.
func TestChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), "CAPSTAN_TEST_PARENT=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(bufio.NewReader(out), &pid); err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatal("the child is not there")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child's end", func() bool { return !alive(pid) })
	if err := parent.Wait(); err == nil {
		t.Error("the parent was not killed")
	}
}

// A child that hangs in the kernel outlives SIGKILL. None can be made here, so its
// process group is one that does not exist.
func TestImmortalChildIsLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Process{
			command: Command{Path: "mt", Grace: time.Minute}, group: &group{pid: 1 << 30},
			started: time.Now(), done: make(chan struct{}), stop: make(chan struct{}),
		}
		go p.supervise(t.Context(), make(chan error))
		start := time.Now()
		_, err := p.Stop(t.Context())
		if !errors.Is(err, ErrImmortal) || time.Since(start) != time.Minute+lastPatience {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if want := "mt: stopped; cannot be killed; it hangs in the kernel after 1m5s"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	})
}
