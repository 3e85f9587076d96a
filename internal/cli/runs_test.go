package cli

import (
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/machine"
)

func TestRunThatSaysItRuns(t *testing.T) {
	t.Parallel()
	now := time.Now()
	line := newRunLine(&catalog.Run{
		ID: 7, Kind: "backup", Job: "files", Process: machine.Place{PID: 4711}, Status: capstan.RunRunning, Started: now.Add(-time.Hour), Beat: now.Add(-41 * time.Second),
	})
	row := strings.Join(line.row(now), "|")
	if !strings.HasPrefix(row, "7|backup|-|running (process 4711, last heard of 41s ago)|") || !strings.HasSuffix(row, "|-|files") {
		t.Errorf("got %s", row)
	}
	if line = newRunLine(&catalog.Run{Process: machine.Place{PID: 4711}, Status: capstan.RunFailed, Started: now, Finished: now.Add(time.Minute)}); line.PID != 0 || line.row(now)[5] != "1m 00s" {
		t.Errorf("a run that is over: %+v", line)
	}
}
