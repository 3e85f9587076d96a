package output

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"
)

func TestResults(t *testing.T) {
	t.Parallel()
	g := newGate(true)
	p, err := NewPrinter(Options{Stdout: g, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Results(t.Context())
	if err := r.Line("a\x1bb"); err != nil { // a pipe gets the bytes as they are
		t.Error(err)
	}
	if err := r.Object(struct {
		Set string `json:"set"`
	}{"2026-11_000001"}); err != nil {
		t.Error(err)
	}
	if err := r.Object(func() {}); err == nil {
		t.Error("a function has no JSON form")
	}
	if g.text() != "" {
		t.Error("results are not collected")
	}
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	if n, err := r.Write(big); err != nil || n != len(big) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if err := r.Flush(); err != nil {
		t.Error(err)
	}
	if want := "a\x1bb\n{\"set\":\"2026-11_000001\"}\n" + string(big); g.text() != want {
		t.Errorf("got %d bytes, want %d", len(g.text()), len(want))
	}
	broken := errors.New("broken pipe")
	g.fail(0, broken)
	_, _ = r.Write(big)
	g.fail(0, nil)
	if err := r.Flush(); !errors.Is(err, broken) {
		t.Errorf("Flush after a failure: %v", err)
	}
	if err := r.Line("x"); !errors.Is(err, broken) {
		t.Errorf("Line after a failure: %v", err)
	}
	if err := p.Close(); !errors.Is(err, broken) {
		t.Errorf("Close: %v", err)
	}
}

func TestResultsOnATerminalAreCleanAndPrompt(t *testing.T) {
	t.Parallel()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	p, err := NewPrinter(Options{Stdout: tty, Stderr: io.Discard, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Results(t.Context()).Line("name\x1b[2J"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := master.Read(buf)
	if err != nil || string(buf[:n]) != "name\\x1b[2J\r\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	tests := []struct {
		options Options
		want    string
	}{
		{Options{}, "info\nwarning: warn\nerror: error\n"},
		{Options{Verbose: true}, "detail\ninfo\nwarning: warn\nerror: error\n"},
		{Options{Quiet: true, Verbose: true}, "warning: warn\nerror: error\n"},
	}
	for _, test := range tests {
		var stderr, stdout bytes.Buffer
		test.options.Stderr, test.options.Stdout = &stderr, &stdout
		p, err := NewPrinter(test.options)
		if err != nil {
			t.Fatal(err)
		}
		p.Detail("%s", "detail")
		p.Info("info")
		p.Warn("warn")
		p.Error("error")
		p.Event(struct{}{})
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if stderr.String() != test.want || stdout.Len() != 0 {
			t.Errorf("%+v: stderr %q stdout %q", test.options, stderr.String(), stdout.String())
		}
	}
}

func TestSummaryAsTextAndJSON(t *testing.T) {
	t.Parallel()
	for asJSON, want := range map[bool]string{
		false: "complete\\x07\n3 archives\n",
		true:  `{"type":"begin"}` + "\n" + `{"type":"summary"}` + "\n",
	} {
		var stdout bytes.Buffer
		p, err := NewPrinter(Options{Stdout: &stdout, Stderr: io.Discard, JSON: asJSON})
		if err != nil {
			t.Fatal(err)
		}
		if p.JSON() != asJSON {
			t.Error("JSON() lies")
		}
		p.Event(map[string]string{"type": "begin"})
		if err := p.Summary(t.Context(), "complete\x07\n3 archives\n", map[string]string{"type": "summary"}); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.ReplaceAll(stdout.String(), `\a`, `\x07`); got != want {
			t.Errorf("stdout %q, want %q", got, want)
		}
	}
}

func TestEventWithoutJSONFormIsTold(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	p, err := NewPrinter(Options{Stdout: io.Discard, Stderr: &stderr, JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	p.Event(func() {})
	if err := p.Summary(t.Context(), "", func() {}); err == nil {
		t.Error("a summary without JSON form")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(stderr.String(), "warning: an event of type func()") {
		t.Errorf("stderr %q", stderr.String())
	}
}

func TestSummaryWaitsForAPipeAndItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		p, err := NewPrinter(Options{Stdout: g, Stderr: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, func() { close(g.open) })
		if err := p.Summary(t.Context(), "complete", nil); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil || g.text() != "complete\n" {
			t.Errorf("Close: %v, stdout %q", err, g.text())
		}
	})
}

func TestPlainProgress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options Options
		err     string
		out     string
	}{
		{"text", Options{}, "7 entries, 0 B in, 0 B out, 0 B/s, 0.0s elapsed; pack waiting for volume for 4.0s\n", ""},
		{"json", Options{JSON: true}, "", `{"type":"progress"`},
		{"off", Options{NoProgress: true}, "", ""},
		{"quiet", Options{Quiet: true}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var stdout, stderr bytes.Buffer
				test.options.Stdout, test.options.Stderr = &stdout, &stderr
				p, err := NewPrinter(test.options)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				stop := p.Start(func() View {
					return View{Entries: 7, Left: -1, Stages: []StageView{{Name: "pack", Active: true, Waiting: "volume", For: 4 * time.Second}}}
				})
				<-time.After(10*time.Second + time.Millisecond)
				stop()
				stop()
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				if stderr.String() != test.err || !strings.HasPrefix(stdout.String(), test.out) || (test.out == "") != (stdout.Len() == 0) {
					t.Errorf("after %v: stderr %q stdout %q", time.Since(began), stderr.String(), stdout.String())
				}
			})
		})
	}
}

func TestProgressOnATerminalWithoutColourAndDumb(t *testing.T) {
	t.Parallel()
	for term, env := range map[string]map[string]string{
		"no colour": {"TERM": "xterm", "NO_COLOR": "1"},
		"colour":    {"TERM": "xterm"},
		"dumb":      {"TERM": "dumb"},
	} {
		t.Run(term, func(t *testing.T) {
			t.Parallel()
			master, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			p, err := NewPrinter(Options{Stdout: io.Discard, Stderr: tty, Getenv: func(name string) string { return env[name] }})
			if err != nil {
				t.Fatal(err)
			}
			views := make(chan struct{}, 100)
			p.Start(func() View {
				views <- struct{}{}
				return View{Left: -1, Stages: []StageView{{Name: "pack", Active: true, Waiting: "volume"}}}
			})
			<-views
			<-views // the first has been handed over
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if err := tty.Close(); err != nil {
				t.Error(err)
			}
			text, err := io.ReadAll(master)
			if err != nil && !errors.Is(err, os.ErrClosed) && !strings.Contains(err.Error(), "input/output") {
				t.Error(err)
			}
			colour, view := strings.Contains(string(text), waitColour), strings.Contains(string(text), "\x1b[J")
			if colour != (term == "colour") || view != (term != "dumb") {
				t.Errorf("wrote %q", text)
			}
		})
	}
}

func TestLogFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "capstan.log")
	for range 2 { // appended
		var stderr bytes.Buffer
		p, err := NewPrinter(Options{Stdout: &bytes.Buffer{}, Stderr: &stderr, LogFile: path, Quiet: true})
		if err != nil {
			t.Fatal(err)
		}
		p.Info("quiet on stderr")
		p.Warn("odd name %s", "a\nb")
		p.Error("no such set")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if want := "warning: odd name a\\nb\nerror: no such set\n"; stderr.String() != want {
			t.Errorf("stderr %q", stderr.String())
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) != 6 {
		t.Fatalf("%d lines: %s", len(lines), data)
	}
	stamp, rest, _ := strings.Cut(lines[1], " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || rest != `warning odd name a\nb` {
		t.Errorf("line %q: %v", lines[1], err)
	}
	if !strings.HasSuffix(lines[0], " info    quiet on stderr") {
		t.Errorf("line %q", lines[0])
	}
}
