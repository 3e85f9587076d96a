package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// patience is how long a command may take before it counts as hung. It is a
// verdict on hanging, not on speed: the machine may be busy with much else.
const patience = 8 * time.Minute

// field is a place to run commands in: a home, a tree, a volume.
type field struct {
	copies int // of each archive that sets shall have; 0: one
	t      *testing.T
	dir    string
	data   string
	vol    string
	slow   []interface{ End() } // filesystems that hold who waits for them
	binary string               // the program; empty: this test binary, which stands in for it
}

func newField(t *testing.T) *field {
	t.Helper()
	dir := t.TempDir()
	return &field{t: t, dir: dir, data: filepath.Join(dir, "data"), vol: filepath.Join(dir, "vol")}
}

// fill makes n files whose names alone overflow any terminal's buffer.
func (f *field) fill(n int) {
	f.t.Helper()
	for i := range n {
		path := filepath.Join(f.data, fmt.Sprintf("dir-%02d", i%10), fmt.Sprintf("file-%06d-%s", i, strings.Repeat("x", 100)))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Repeat(path, 1+i%50)), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
}

// command prepares the program with this field's home.
func (f *field) command(ctx context.Context, args ...string) *exec.Cmd {
	f.t.Helper()
	path, err := f.binary, error(nil)
	if path == "" {
		path, err = exec.LookPath("capstan")
	}
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "CAPSTAN_HOME="+filepath.Join(f.dir, "home"))
	return cmd
}

// run runs the program and expects success; it gives what it printed.
func (f *field) run(args ...string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	cmd := f.command(ctx, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		f.t.Fatalf("capstan %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// wait ends a command that hangs, and fails the test.
func (f *field) wait(cmd *exec.Cmd, args []string) {
	f.t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait(); close(done) }()
	select {
	case err := <-done:
		if err != nil {
			f.t.Errorf("capstan %s: %v", strings.Join(args, " "), err)
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		for range done { // its end is not its own doing
		}
		f.t.Errorf("capstan %s hangs", strings.Join(args, " "))
	}
}

// working lists every command that does work, with the output a terminal gets.
func (f *field) working(round string) [][]string {
	return [][]string{
		{"backup", f.data, "--to", f.vol, "-v"},
		{"sets"},
		{"show", "latest"},
		{"ls", "latest"},
		{"find", "dir-01"},
		{"diff", "2026-11_000001", "2026-11_000001"},
		{"verify", "--read-data", "-v"},
		{"restore", "latest", "--to", filepath.Join(f.dir, "back-"+round), "-v"},
		{"restore", "latest", "--to", filepath.Join(f.dir, "back-"+round+"-plan"), "--plan"},
		{"catalog", "check"},
		{"catalog", "rebuild", f.vol},
		{"doctor"},
		{"version"},
	}
}

// firstSet replaces the placeholder of working by the first set's real id.
func (f *field) firstSet(args []string) []string {
	f.t.Helper()
	if args[0] != "diff" {
		return args
	}
	line := f.run("sets")
	id := strings.Fields(strings.Split(line, "\n")[1])[0]
	return []string{"diff", id, id}
}

// TestUnreadTerminal runs every command under a terminal that nobody reads:
// the work completes all the same.
func TestUnreadTerminal(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.fill(3000)
	for _, args := range f.working("tty") {
		args = f.firstSet(args)
		cmd := f.command(t.Context(), args...)
		terminal, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		f.wait(cmd, args)
		if err := terminal.Close(); err != nil {
			t.Error(err)
		}
	}
	f.run("verify", "--read-data")
}

// TestEndlessStdin runs every command with a stdin that never ends and is never
// worth reading.
func TestEndlessStdin(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.fill(50)
	for _, args := range f.working("stdin") {
		args = f.firstSet(args)
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := f.command(t.Context(), args...)
		cmd.Stdin = reader
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		f.wait(cmd, args)
		for _, end := range []io.Closer{reader, writer} {
			if err := end.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestClosedStdout runs a backup and a restore with stdout closed, and with one
// whose reader went away: the work completes; the exit code may say that the
// summary was lost, the set must be complete. A restore whose summary is lost
// says so (exit 1): it is kept nowhere else.
func TestClosedStdout(t *testing.T) {
	t.Parallel()
	for name, redirect := range map[string]string{"closed": ">&-", "both closed": ">&- 2>&-", "no reader": "| true", "full": ">/dev/full"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			f.fill(500)
			for _, args := range [][]string{
				{"backup", f.data, "--to", f.vol, "-v"},
				{"backup", f.data, "--to", f.vol, "--json"},
				{"restore", "latest", "--to", filepath.Join(f.dir, "back")},
			} {
				line := f.command(t.Context(), args...)
				shell := exec.CommandContext(t.Context(), "sh", "-c", `"$@" `+redirect, "sh", line.Path)
				shell.Args = append(shell.Args, args...)
				shell.Dir, shell.Env = line.Dir, line.Env
				if err := shell.Start(); err != nil {
					t.Fatal(err)
				}
				if args[0] != "restore" || name != "full" { // a closed stdout is /dev/null by then; a pipe's verdict is that of true
					f.wait(shell, args)
					continue
				}
				var exit *exec.ExitError
				if err := shell.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
					t.Errorf("restore with stdout %s: %v, want exit 1", name, err)
				}
			}
			sets := f.run("sets", "--json")
			if n := strings.Count(sets, `"status":"complete"`); n != 2 {
				t.Errorf("%d of 2 sets are complete:\n%s", n, sets)
			}
			if out, err := exec.CommandContext(t.Context(), "diff", "-r", f.data, filepath.Join(f.dir, "back", "data")).CombinedOutput(); err != nil {
				t.Errorf("the restored tree differs: %v\n%s", err, out)
			}
		})
	}
}
