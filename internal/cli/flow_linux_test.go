package cli_test

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan"
)

// flowEvent is a line of a run with --json.
type flowEvent struct {
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	Stage   string    `json:"stage"`
	Archive string    `json:"archive"`
	Object  string    `json:"object"`
	Stages  []struct {
		Name       string             `json:"name"`
		WaitingFor map[string]float64 `json:"waiting_for"`
	} `json:"stages"`
}

func flowEvents(t *testing.T, out string) (events []flowEvent) {
	t.Helper()
	for line := range strings.Lines(out) {
		var e flowEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

// TestFlowOfArchives brings more than the stage holds to two volumes that are
// slower than the packing: the packing waits for room and goes on, no more than the
// stage's size is ever in it, every key step of every archive is told, and archive
// n+1 is packed while archive n is written.
func TestFlowOfArchives(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.copies = 2
	garden(t, f.data, 31)
	second, stage := filepath.Join(f.dir, "second"), filepath.Join(f.dir, "stage")
	const size = 3 * capstan.MiB
	p := f.start("backup", f.data, "--to", f.vol, "--to", second, "--json", "--archive-size", "1MiB",
		"--stage", stage, "--stage-size", size.String(), "--limit-rate", "5MiB")
	var most int64
	for p.within(5 * time.Millisecond) {
		most = max(most, staged(stage))
	}
	e := p.end()
	f.check(e, 0, p.args)
	if most > int64(size) || most == 0 {
		t.Errorf("up to %d bytes were in the stage, want at most %d", most, size)
	}
	if left := staged(stage); left != 0 {
		t.Errorf("%d bytes are left in the stage", left)
	}
	begun, ended := map[string]flowEvent{}, map[string]flowEvent{}
	events := flowEvents(t, e.out)
	for _, e := range events {
		key := e.Archive + " " + e.Stage + " " + e.Object
		switch e.Type {
		case "begin":
			begun[key] = e
		case "end":
			if _, ok := begun[key]; !ok && e.Archive != "" {
				t.Errorf("%s ended and never began", key)
			}
			ended[key] = e
		}
	}
	overlaps := 0
	set := f.onlySet()
	for i, a := range set.Archives {
		for _, step := range []string{
			"pack ", "write ", "commit sync", "rename ", "enqueue ", "write " + f.vol, "write " + second, "delete ",
			"compressor close ",
		} {
			if _, ok := ended[a.Name+" "+step]; !ok {
				t.Errorf("no event says that %s of %s is over", step, a.Name)
			}
		}
		if i+1 < len(set.Archives) && begun[set.Archives[i+1].Name+" pack "].Time.Before(ended[a.Name+" write "+f.vol].Time) {
			overlaps++
		}
	}
	if overlaps < len(set.Archives)/2 {
		t.Errorf("of %d archives, %d were written while the next one was packed", len(set.Archives), overlaps)
	}
	waited := map[string]map[string]float64{}
	for _, s := range events[len(events)-1].Stages {
		waited[s.Name] = s.WaitingFor
	}
	if waited["write"]["space"] == 0 || waited["copy to "+f.vol]["rate limit"] == 0 {
		t.Errorf("the report does not say who waited for what: %v", waited)
	}
	f.whole(set.Set)
	f.vol = second
	f.whole(set.Set)
}

// staged is how many bytes of archives lie in a stage.
func staged(dir string) (n int64) {
	for _, area := range []string{"temp", "final"} {
		_ = filepath.WalkDir(filepath.Join(dir, area), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil { // else it is gone by now
					n += info.Size()
				}
			}
			return nil
		})
	}
	return n
}
