package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/machine"
	"capstan/internal/output"
	"capstan/internal/progress"
)

// What a run did at its last heartbeat is shown as it is by now.
func TestWatchedView(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	at := func(d time.Duration) time.Time { return begun.Add(d) }
	snapshot, err := json.Marshal(progress.Snapshot{
		Time: at(60 * time.Second), Elapsed: time.Minute, Entries: 7, BytesIn: capstan.MiB, Left: 30 * time.Second,
		Stages: []progress.StageState{{Name: "write", Active: 1, Waiting: progress.ForVolume, Detail: "/mnt/disk", For: 5 * time.Second, Object: "backup_0001"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	run := catalog.Run{
		ID: 12, Kind: "backup", Set: "2026-11_000001", Process: machine.Place{PID: 4711, Host: "far"}, Status: capstan.RunRunning,
		Started: begun, Beat: at(60 * time.Second), Progress: snapshot,
	}
	line := func(run catalog.Run, now time.Time) string {
		w := &watched{}
		w.see(run)
		return output.Line(w.view(now))
	}
	got := line(run, at(62*time.Second))
	if want := "run 12: backup 2026-11_000001: 7 entries, 1.0 MiB in, 0 B out, 0 B/s, 1m 02s elapsed, 28s left; write waiting for volume (/mnt/disk) for 7.0s"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := line(run, at(100*time.Second)); !strings.HasPrefix(got, "run 12: backup 2026-11_000001, last heard of 40s ago: ") || !strings.Contains(got, "for 45s") {
		t.Errorf("a silent one: %s", got)
	}
	run.Cancel = catalog.CancelRequest{At: at(61 * time.Second), By: "me on here"}
	if got := line(run, at(62*time.Second)); !strings.Contains(got, ", cancelled by me on here: ") {
		t.Errorf("a cancelled one: %s", got)
	}
	run.Progress, run.Set, run.Cancel = nil, "", catalog.CancelRequest{}
	if got := line(run, at(62*time.Second)); got != "run 12: backup: 0 entries, 0 B in, 0 B out, 0 B/s, 1m 02s elapsed" {
		t.Errorf("one without a heartbeat: %s", got)
	}
	run.Progress = []byte(`{"stages": 7}`)
	if got := line(run, at(62*time.Second)); !strings.HasPrefix(got, "run 12: backup: 0 entries") {
		t.Errorf("one of another release: %s", got)
	}
}
