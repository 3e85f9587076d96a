package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun reads what the go command of this machine prints.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		body string
		want string
		code int
	}{
		{"", "", 0},
		{`t.Error("go test says that itself")`, "", 0},
		{`t.Log("at first"); t.Skip("why")`, "--- SKIP: x TestX: x_test.go:3: at first x_test.go:3: why\nFAIL: 1 skipped", 1},
		{`t.Run("sub", func(t *testing.T) { t.SkipNow() })`, "--- SKIP: x TestX/sub: \n", 1},
		{"undefined", "FAIL: nothing was tested\n", 1},
	} {
		t.Run(test.body, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "go.mod"), "module x\n\ngo 1.26\n")
			write(t, filepath.Join(dir, "x_test.go"),
				"package x\nimport \"testing\"\nfunc TestX(t *testing.T) { "+test.body+" }\n")
			command := exec.CommandContext(t.Context(), "go", "test", "-json", "./...")
			command.Dir = dir
			stream, err := command.Output()
			if test.code == 0 && test.body == "" && err != nil {
				t.Fatal(err)
			}
			var out, messages strings.Builder
			code := run(strings.NewReader(string(stream)), &out, &messages)
			if code != test.code || !strings.HasPrefix(out.String(), test.want) || messages.Len() > 0 {
				t.Errorf("code %d, output %q, messages %q; want %d and %q", code, out.String(), messages.String(), test.code, test.want)
			}
		})
	}
}

func TestRunForeign(t *testing.T) {
	t.Parallel()
	var out, messages strings.Builder
	if code := run(strings.NewReader("go: cannot find main module\n"), &out, &messages); code != 2 || messages.Len() == 0 {
		t.Errorf("code %d with message %q", code, messages.String())
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
