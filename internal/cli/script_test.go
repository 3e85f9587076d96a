package cli_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"capstan/internal/capstantest/slowfs"
	"capstan/internal/cli"
)

// TestMain lets the test binary stand in for the program: scripts and tests
// that start "capstan" run this binary, in a process of its own. It is also the
// server of the slow filesystems.
func TestMain(m *testing.M) {
	if slowfs.Served() {
		return
	}
	testscript.Main(m, map[string]func(){
		"capstan": func() {
			ctx, stop := cli.Signals(context.Background())
			notes(ctx)
			code := cli.Run(ctx, os.Args[1:], cli.Streams{Out: os.Stdout, Err: os.Stderr})
			stop()
			os.Exit(code)
		},
	})
}

// heardVariable names the variable with the path of a file that the program makes when
// it has heard a signal: what a test holds until then meets a program that knows.
const heardVariable = "CAPSTAN_TEST_HEARD"

// notes makes the file of heardVariable when a signal has ended ctx.
func notes(ctx context.Context) {
	path := os.Getenv(heardVariable)
	if path == "" {
		return
	}
	context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), context.Canceled) { // else the program is over by itself
			_ = os.WriteFile(path, nil, 0o600) // the test notices that it does not come
		}
	})
}

// TestScripts runs the command line as it is typed; see testdata/script.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CAPSTAN_HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "env-set": envSet},
	})
}

// code runs a command and checks its exit code: code 4 capstan …
func code(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: code NUMBER COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = err.Error()
		if rest, ok := strings.CutPrefix(got, "exit status "); ok {
			got = rest
		}
	}
	if got != args[0] {
		ts.Fatalf("%v: exit %s, want %s", args[1:], got, args[0])
	}
}

// envSet sets a variable to the set of the latest "capstan sets" whose id ends so:
// env-set NAME _000001.
func envSet(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: env-set NAME ENDING")
	}
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if id, _, _ := strings.Cut(line, " "); strings.HasSuffix(id, args[1]) {
			ts.Setenv(args[0], id)
			return
		}
	}
	ts.Fatalf("no set ends in %s", args[1])
}
