package cli

import (
	"strings"
	"testing"

	"capstan/internal/output"
	"capstan/internal/progress"
)

// The progress of a stop tells whom it waits for and no entries; that of a purge
// tells how many files it has removed.
func TestPgView(t *testing.T) {
	t.Parallel()
	tracker := progress.New(nil)
	stage := tracker.Stage("stop")
	stage.Begin()
	defer stage.Wait(progress.ForServer, "walsender")()
	if got := output.Line(pgView(tracker.Snapshot())); strings.Contains(got, "entries") || !strings.Contains(got, "elapsed; stop waiting for") || !strings.Contains(got, "(walsender)") {
		t.Errorf("%q", got)
	}
	tracker.Count(3, 0, 0)
	if got := output.Line(pgView(tracker.Snapshot())); !strings.HasPrefix(got, "3 entries, ") {
		t.Errorf("%q", got)
	}
}
