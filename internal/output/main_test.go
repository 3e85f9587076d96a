package output

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the command of the tests that need a process of
// their own; see hostile_test.go.
func TestMain(m *testing.M) {
	if scene := os.Getenv("CAPSTAN_TEST_SCENE"); scene != "" {
		os.Exit(play(scene))
	}
	goleak.VerifyTestMain(m)
}

// play is the command that the tests below run under hostile streams: it does some
// work with a lot of messages, writes a file that proves that it came to its end,
// and ends as a command does.
func play(scene string) int {
	defer KeepRunning()()
	start := time.Now()
	p, err := NewPrinter(Options{Stdout: os.Stdout, Stderr: os.Stderr, JSON: scene == "json", Verbose: true, LogFile: os.Getenv("CAPSTAN_TEST_LOG")})
	if err != nil {
		return 1
	}
	stop := p.Start(func() View { return View{Entries: 1, Left: -1, Stages: []StageView{{Name: "pack", Active: true}}} })
	for i := range 10_000 { // more than 1 MB
		p.Detail("message %06d %s", i, strings.Repeat("x", 100))
		p.Event(map[string]any{"type": "begin", "n": i})
		if scene == "paint" && i == 5000 {
			<-time.After(500 * time.Millisecond)
		}
	}
	stop()
	worked := time.Since(start)
	summary := p.Summary(context.Background(), "complete", map[string]string{"type": "summary", "status": "complete"})
	closed := p.Close()
	report := fmt.Sprintf("%d %d %d\nsummary: %v\nclose: %v\n", worked.Milliseconds(), time.Since(start).Milliseconds(), p.Dropped(), summary, closed)
	if os.WriteFile(os.Getenv("CAPSTAN_TEST_PROOF"), []byte(report), 0o600) != nil {
		return 1
	}
	return 0
}
