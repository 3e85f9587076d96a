package cli_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"capstan/internal/cli"
)

// The help of every command has examples, the exit codes and --json.
func TestHelpOfEveryCommand(t *testing.T) {
	t.Parallel()
	seen := 0
	var look func(path []string)
	look = func(path []string) {
		seen++
		var out, problems bytes.Buffer
		code := cli.Run(t.Context(), append(slices.Clip(path), "--help"), cli.Streams{Out: &out, Err: &problems})
		help := out.String()
		if code != 0 || problems.Len() > 0 {
			t.Errorf("capstan %s --help: exit %d, %s", strings.Join(path, " "), code, problems.String())
		}
		for _, want := range []string{"\nExamples:\n  capstan", "\nExit codes: 0 ", " --json "} {
			if !strings.Contains(help, want) {
				t.Errorf("capstan %s --help lacks %q", strings.Join(path, " "), want)
			}
		}
		_, list, found := strings.Cut(help, "\nAvailable Commands:\n")
		if !found {
			return
		}
		list, _, _ = strings.Cut(list, "\n\n")
		for line := range strings.Lines(list) {
			if name := strings.Fields(line)[0]; name != "help" {
				look(append(slices.Clip(path), name))
			}
		}
	}
	look(nil)
	if seen < 50 {
		t.Errorf("%d commands were found", seen)
	}
}
