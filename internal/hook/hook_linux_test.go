package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heard is a call with what was told through it.
type heard struct {
	Call
	said, warned []string
	events       []string
}

func newCall(status capstan.RunStatus) *heard {
	h := &heard{}
	h.Call = Call{
		Job: "nightly", Status: status,
		Say:  func(format string, args ...any) { h.said = append(h.said, fmt.Sprintf(format, args...)) },
		Warn: func(format string, args ...any) { h.warned = append(h.warned, fmt.Sprintf(format, args...)) },
		Begin: func(command string) func() {
			h.events = append(h.events, "begin "+command)
			return func() { h.events = append(h.events, "end "+command) }
		},
	}
	if status != "" {
		h.Set, h.Run = "2026-11_000001", 7
	}
	return h
}

func script(phase config.Phase, text string) config.Hook { return config.NewHook(phase, text) }

func TestBeforeStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	warn := script(config.PreHook, "echo one; exit 3")
	warn.OnFailure = config.PolicyWarn
	call := newCall("")
	err := Before(t.Context(), []config.Hook{warn, script(config.PreHook, "echo two; echo bad >&2; exit 4"), script(config.PreHook, "touch "+mark)}, call.Call)
	if err == nil || err.Error() != "pre hook 2 (echo): sh: exit status 4; nothing was backed up" {
		t.Errorf("got %v", err)
	}
	exit, ok := errors.AsType[*process.ExitError](err)
	if !ok || exit.ExitCode != 4 {
		t.Errorf("the exit code is lost: %v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command after the failure was run")
	}
	want := []string{
		"running pre hook 1 (echo)", "pre hook 1 (echo): one",
		"running pre hook 2 (echo)", "pre hook 2 (echo): two", "pre hook 2 (echo): bad",
	}
	if !slices.Equal(call.said, want) {
		t.Errorf("said %q", call.said)
	}
	if len(call.warned) != 1 || !strings.Contains(call.warned[0], "exit status 3") {
		t.Errorf("warned %q", call.warned)
	}
	if want := []string{"begin pre hook 1 (echo)", "end pre hook 1 (echo)", "begin pre hook 2 (echo)", "end pre hook 2 (echo)"}; !slices.Equal(call.events, want) {
		t.Errorf("events %q", call.events)
	}
}

func TestAfterRunsAllThatAreMeant(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status capstan.RunStatus
		want   string
	}{
		{capstan.RunComplete, "always success"},
		{capstan.RunPartial, "always failure"},
		{capstan.RunFailed, "always failure"},
		{capstan.RunInterrupted, "always failure"},
	} {
		t.Run(string(test.status), func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "ran")
			var hooks []config.Hook
			for _, when := range []config.When{config.WhenAlways, config.WhenSuccess, config.WhenFailure} {
				hook := script(config.PostHook, fmt.Sprintf("printf '%s ' >> %s; exit 1", when, file))
				hook.When = when
				hooks = append(hooks, hook)
			}
			call := newCall(test.status)
			if err := After(t.Context(), hooks, call.Call); err != nil {
				t.Errorf("a warning became a failure: %v", err)
			}
			ran, err := os.ReadFile(file)
			if err != nil || strings.TrimSpace(string(ran)) != test.want {
				t.Errorf("ran %q, %v", ran, err)
			}
			if len(call.warned) != 2 {
				t.Errorf("warned %q", call.warned)
			}
		})
	}
}

func TestAfterJoinsFailures(t *testing.T) {
	t.Parallel()
	first, second := script(config.PostHook, "exit 1"), script(config.PostHook, "exit 2")
	first.OnFailure, second.OnFailure = config.PolicyFail, config.PolicyFail
	err := After(t.Context(), []config.Hook{first, second}, newCall(capstan.RunComplete).Call)
	if err == nil || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(err.Error(), "exit status 2") ||
		!strings.Contains(err.Error(), "set 2026-11_000001 is stored") {
		t.Errorf("got %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("CAPSTAN_STATUS", "of a run around this one")
	t.Setenv("KEPT", "yes")
	t.Setenv("HUSH", "topsecret")
	hook := script(config.PostHook, `echo "$CAPSTAN_JOB/$CAPSTAN_SET/$CAPSTAN_RUN/$CAPSTAN_STATUS/$KEPT/$OWN"; test "$PASSWORD" = topsecret && echo "it is $PASSWORD."; echo "$PASSWORD" >&2; exit 9`)
	hook.Env = []config.Variable{{Name: "OWN", Value: "own"}, {Name: "KEPT", Value: "changed"}, {Name: "PASSWORD", Secret: config.EnvSecret("HUSH")}}
	hook.OnFailure = config.PolicyFail
	call := newCall(capstan.RunPartial)
	err := After(t.Context(), []config.Hook{hook}, call.Call)
	want := []string{
		"running post hook 1 (echo)", "post hook 1 (echo): nightly/2026-11_000001/7/partial/changed/own",
		"post hook 1 (echo): it is ***.", "post hook 1 (echo): ***",
	}
	if !slices.Equal(call.said, want) {
		t.Errorf("said %q", call.said)
	}
	if err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("got %v", err)
	}

	pre := script(config.PreHook, `echo "${CAPSTAN_SET-unset} ${CAPSTAN_RUN-unset} ${CAPSTAN_STATUS-unset}"`)
	call = newCall("")
	if err := Before(t.Context(), []config.Hook{pre}, call.Call); err != nil || call.said[1] != "pre hook 1 (echo): unset unset unset" {
		t.Errorf("said %q, %v", call.said, err)
	}
}

func TestMissingSecretKeepsTheCommandFromRunning(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	hook := script(config.PreHook, "touch "+mark)
	hook.Env = []config.Variable{{Name: "PASSWORD", Secret: config.FileSecret(mark + ".none")}}
	err := Before(t.Context(), []config.Hook{hook}, newCall("").Call)
	if err == nil || !strings.Contains(err.Error(), "variable PASSWORD: read the secret in file") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command was run")
	}
}

func TestArgsAndDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hook := config.NewHook(config.PreHook, "")
	hook.Args, hook.Dir = []string{"sh", "-c", `pwd; printf '<%s>' "$@"`, "x", "a b", "", "$HOME"}, dir
	call := newCall("")
	if err := Before(t.Context(), []config.Hook{hook}, call.Call); err != nil {
		t.Fatal(err)
	}
	if want := []string{"running pre hook 1 (sh)", "pre hook 1 (sh): " + dir, "pre hook 1 (sh): <a b><><$HOME>"}; !slices.Equal(call.said, want) {
		t.Errorf("said %q", call.said)
	}
	hook.Args = []string{"no-such-program-anywhere"}
	if err := Before(t.Context(), []config.Hook{hook}, call.Call); err == nil || !strings.Contains(err.Error(), "no-such-program-anywhere") {
		t.Errorf("got %v", err)
	}
}

func TestCommandsHaveNoInput(t *testing.T) {
	t.Parallel()
	call := newCall("")
	if err := Before(t.Context(), []config.Hook{script(config.PreHook, "read x; echo \"[$x]\"; test -t 0 || echo none")}, call.Call); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(call.said[1:], []string{"pre hook 1 (read): []", "pre hook 1 (read): none"}) {
		t.Errorf("said %q", call.said)
	}
}

func TestOnlyTheLastLinesAreTold(t *testing.T) {
	t.Parallel()
	call := newCall("")
	flood := script(config.PreHook, "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo line $i; echo; done; head -c 3000 /dev/zero | tr '\\0' x")
	if err := Before(t.Context(), []config.Hook{flood}, call.Call); err != nil {
		t.Fatal(err)
	}
	if len(call.said) != 1+maxLines || !strings.HasSuffix(call.said[maxLines-1], " line 5000") || len(call.said[maxLines]) > maxLine+50 {
		t.Errorf("said %d lines: %.2000q", len(call.said), call.said)
	}
}

func TestTimeoutEndsTheGroup(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	hook := script(config.PreHook, "sleep 1000 & echo $! > "+file+"; wait")
	hook.Timeout = 300 * time.Millisecond
	err := Before(t.Context(), []config.Hook{hook}, newCall("").Call)
	if !errors.Is(err, process.ErrTimeout) || !strings.Contains(err.Error(), "its timeout is 300ms") {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}

// gone waits for the end of a process: the signal is sent, the kernel may take a moment.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for alive(pid) {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("process %d of the group is still alive", pid)
		}
	}
}

// alive reports whether a process runs; one that is dead and not yet waited for
// by its new parent does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestCancelEndsTheCommand(t *testing.T) {
	t.Parallel()
	stop := &capstan.Error{Class: capstan.ErrInterrupted, Op: "stopped by the test"}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, stop)
	defer cancel()
	hook := script(config.PreHook, "sleep 1000")
	hook.OnFailure = config.PolicyWarn // it does not turn an interruption into a warning
	if err := Before(ctx, []config.Hook{hook}, newCall("").Call); !errors.Is(err, capstan.ErrInterrupted) {
		t.Errorf("got %v", err)
	}
}

func TestCover(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		cut  bool
		want string
	}{
		{"a topsecret b", false, "a *** b"},
		{"secret tail\nnext", true, "next"},
		{"line-one and line-two", false, "*** and ***"},
	} {
		if got := cover(test.text, test.cut, []string{"topsecret", "line-one\nline-two\n"}); got != test.want {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
}
