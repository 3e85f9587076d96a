package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/progress"
)

func TestMessages(t *testing.T) {
	t.Parallel()
	a, b := errors.New("a fails"), errors.New("b fails")
	signal := &capstan.Error{Class: capstan.ErrInterrupted, Op: bySignal}
	for name, test := range map[string]struct {
		err     error
		command string
		want    []string
	}{
		"one":           {a, "sets", []string{"a fails"}},
		"joined":        {errors.Join(a, errors.Join(b, a)), "sets", []string{"a fails", "b fails"}},
		"joined within": {fmt.Errorf("read: %w", errors.Join(a, b, a)), "sets", []string{"read: a fails; b fails"}},
		"in an error": {
			errors.Join(&capstan.Error{Op: "open", Object: "x", Err: errors.Join(a, b), Next: "retry"}, b), "sets",
			[]string{"open x: a fails; b fails; retry", "b fails"},
		},
		"a name with a line end": {errors.New("x\nerror: y"), "sets", []string{"x\nerror: y"}}, // the printer escapes it
		"backup":                 {errors.Join(signal, a), "backup", []string{"interrupted by a signal; what is sealed is kept; the next call of the same backup resumes"}},
		"restore":                {errors.Join(signal, a), "restore", []string{"interrupted by a signal; what was restored is whole; run it again with --overwrite"}},
		"ls":                     {fmt.Errorf("list: %w", signal), "ls", []string{"interrupted by a signal"}},
	} {
		if got := messages(test.err, test.command); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ got, want string }{
		{plural(1, "set"), "1 set"},
		{plural(0, "archive"), "0 archives"},
		{plural(2345, "entry"), "2,345 entries"},
		{plural(1, "copy"), "1 copy"},
		{ratio(0, 10), " (nothing to store)"},
		{ratio(2, 126260), ""},
		{ratio(2*capstan.MiB, capstan.MiB), " (50 %)"},
		{eventText(progress.Event{Type: "end", Stage: "commit", Archive: "x_0001.tar.zst", Object: "sync", Seconds: 0.25}), "commit end x_0001.tar.zst sync 0.250s"},
		{eventText(progress.Event{Type: "begin", Stage: "scan"}), "scan begin 0.000s"},
		{strings.Join(cleaned([]string{"a\nb", "c\td"}), "|"), `a\nb|c\td`},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestReadPatterns(t *testing.T) {
	t.Parallel()
	got, err := readPatterns(strings.NewReader("\uFEFF*.tmp\r\n\n# no\n" + strings.Repeat("x", maxPattern) + "\nlast"))
	if err != nil || len(got) != 3 || got[0] != "*.tmp" || got[2] != "last" {
		t.Errorf("got %d patterns, %v", len(got), err)
	}
	if _, err = readPatterns(strings.NewReader("a\nb\n" + strings.Repeat("x", maxPattern+10))); err == nil || !strings.Contains(err.Error(), "line 3 is longer than 64 KiB") {
		t.Errorf("a long line: %v", err)
	}
}
