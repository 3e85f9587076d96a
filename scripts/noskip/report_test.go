package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want string
		code int
	}{
		{
			name: "what passes is one line",
			in: `{"Action":"output","Package":"x/a","Output":"-test.shuffle 1\n"}
				{"Action":"output","Package":"x/a","Test":"TestA","Output":"=== RUN   TestA\n"}
				{"Action":"output","Package":"x/a","Test":"TestA","Output":"    a_test.go:3: noise\n"}
				{"Action":"pass","Package":"x/a","Test":"TestA"}
				{"Action":"output","Package":"x/a","Output":"PASS\n"}
				{"Action":"output","Package":"x/a","Output":"ok  \tx/a\t0.1s\n"}
				{"Action":"pass","Package":"x/a"}`,
			want: "ok  \tx/a\t0.1s\n",
		},
		{
			name: "what fails says why, and its neighbour nothing",
			in: `{"Action":"output","Package":"x/b","Test":"TestB","Output":"=== RUN   TestB\n"}
				{"Action":"output","Package":"x/b","Test":"TestC","Output":"    b_test.go:9: noise\n"}
				{"Action":"output","Package":"x/b","Test":"TestB","Output":"    b_test.go:3: bad\n"}
				{"Action":"output","Package":"x/b","Test":"TestB","Output":"--- FAIL: TestB (0.00s)\n"}
				{"Action":"fail","Package":"x/b","Test":"TestB"}
				{"Action":"pass","Package":"x/b","Test":"TestC"}
				{"Action":"output","Package":"x/b","Output":"FAIL\tx/b\t0.1s\n"}
				{"Action":"fail","Package":"x/b"}`,
			want: "    b_test.go:3: bad\n--- FAIL: TestB (0.00s)\nFAIL\tx/b\t0.1s\nFAIL\n",
			code: 1,
		},
		{
			name: "a test that never ended",
			in: `{"Action":"output","Package":"x/d","Test":"TestD","Output":"panic: test timed out\n"}
				{"Action":"output","Package":"x/d","Output":"FAIL\tx/d\t600s\n"}
				{"Action":"fail","Package":"x/d"}`,
			want: "panic: test timed out\nFAIL\tx/d\t600s\nFAIL\n",
			code: 1,
		},
		{
			name: "a skip is a failure with its reason",
			in: `{"Action":"output","Package":"x/c","Test":"TestS","Output":"=== RUN   TestS\n"}
				{"Action":"output","Package":"x/c","Test":"TestS","Output":"    c_test.go:3: no root\n"}
				{"Action":"output","Package":"x/c","Test":"TestS","Output":"--- SKIP: TestS (0.00s)\n"}
				{"Action":"skip","Package":"x/c","Test":"TestS"}
				{"Action":"output","Package":"x/c","Output":"ok  \tx/c\t0.1s\n"}
				{"Action":"pass","Package":"x/c"}`,
			want: "ok  \tx/c\t0.1s\n--- SKIP: x/c TestS: c_test.go:3: no root\nFAIL: 1 skipped; where the tests count, every test runs\nFAIL\n",
			code: 1,
		},
		{
			name: "a package that does not build",
			in: `{"ImportPath":"x/e","Action":"build-output","Output":"e.go:1: missing return\n"}
				{"ImportPath":"x/e","Action":"build-fail"}
				{"Action":"output","Package":"x/e","Output":"FAIL\tx/e [build failed]\n"}
				{"Action":"fail","Package":"x/e","FailedBuild":"x/e"}`,
			want: "e.go:1: missing return\nFAIL\tx/e [build failed]\nFAIL\n",
			code: 1,
		},
		{
			name: "nothing was tested",
			in: `{"Action":"output","Package":"x/f","Output":"?   \tx/f\t[no test files]\n"}
				{"Action":"skip","Package":"x/f"}`,
			want: "?   \tx/f\t[no test files]\nFAIL: no package was tested\nFAIL\n",
			code: 1,
		},
		{name: "no output of go test at all", in: "go: cannot find main module\n", code: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out, messages strings.Builder
			code := run(strings.NewReader(test.in), &out, &messages)
			if code != test.code || out.String() != test.want {
				t.Errorf("code %d and output\n%s\nwant %d and\n%s", code, out.String(), test.code, test.want)
			}
			if (code == 2) != (messages.Len() > 0) {
				t.Errorf("code %d with message %q", code, messages.String())
			}
		})
	}
}

// TestRealStream reads what the go command of this machine prints, in case its
// form moves away from the lines above.
func TestRealStream(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		body string
		want string
		code int
	}{
		{"", "ok  \tx\t", 0},
		{`t.Skip("why")`, "--- SKIP: x TestX: x_test.go:3: why", 1},
		{`t.Error("bad")`, "x_test.go:3: bad\n--- FAIL: TestX", 1},
		{"undefined", "undefined: undefined", 1},
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
			if test.code == 0 && err != nil {
				t.Fatal(err)
			}
			var out, messages strings.Builder
			code := run(strings.NewReader(string(stream)), &out, &messages)
			if code != test.code || !strings.Contains(out.String(), test.want) {
				t.Errorf("code %d, output %q, messages %q; want %d and %q", code, out.String(), messages.String(), test.code, test.want)
			}
		})
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
