package cli_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest/slowfs"
)

// flowEvent is a line of a run with --json.
type flowEvent struct {
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	Stage   string    `json:"stage"`
	Archive string    `json:"archive"`
	Object  string    `json:"object"`
	// Stages are other ones in the summary and in a progress event, of which a run that
	// takes long on a busy machine has some.
	Stages json.RawMessage `json:"stages"`
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

// TestFlowOfArchives brings more than the stage holds to two volumes, of which one is
// slower than the packing: the packing waits for room and goes on, no more than the
// stage's size is ever in it, every key step of every archive is told, and archive
// n+1 is packed while archive n is written. The slow volume takes the first archive when
// the packing waits, and every other when the next one is being packed.
func TestFlowOfArchives(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.copies = 2
	garden(t, f.data, 31)
	second, stage := filepath.Join(f.dir, "second"), filepath.Join(f.dir, "stage")
	const size, slow = 3 * capstan.MiB, 5 // so many archives are held up, of six or more
	m := f.slowly(f.vol)
	var holds []*slowfs.Active
	for n := range slow {
		holds = append(holds, m.Add(slowfs.Rule{Op: slowfs.Create, Name: fmt.Sprintf("*_%04d.*", n+1), Hold: true}))
	}
	p := f.start("backup", f.data, "--to", f.vol, "--to", second, "--json", "--archive-size", "1MiB",
		"--stage", stage, "--stage-size", size.String(), "--limit-rate", "2MiB", "--stall-warn", "1s")
	var most int64
	for released := 0; p.within(5 * time.Millisecond); {
		most = max(most, staged(stage))
		if released < slow && strings.Contains(p.err.String(), "stalled: stage write has been waiting for space") && p.packs(released+2) {
			holds[released].End()
			released++
		}
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
	if overlaps < slow {
		t.Errorf("of %d archives, %d were written while the next one was packed", len(set.Archives), overlaps)
	}
	waited := map[string]map[string]float64{}
	var stages []struct {
		Name       string             `json:"name"`
		WaitingFor map[string]float64 `json:"waiting_for"`
	}
	if err := json.Unmarshal(events[len(events)-1].Stages, &stages); err != nil {
		t.Fatal(err)
	}
	for _, s := range stages {
		waited[s.Name] = s.WaitingFor
	}
	for name, resources := range waited {
		for resource := range resources {
			outside := []string{"space", "rate limit", "volume", "source", "catalog", "lock", "volume to answer"}
			if _, stage := waited[resource]; !stage && !slices.Contains(outside, resource) {
				t.Errorf("%s waited for %s, which the report tells nobody about", name, resource)
			}
		}
	}
	if waited["write"]["space"] == 0 || waited["copy to "+f.vol]["rate limit"] == 0 {
		t.Errorf("the report does not say who waited for what: %v", waited)
	}
	f.whole(set.Set)
	f.vol = second
	f.whole(set.Set)
}

// packs reports whether a run with --json has said that it begins to pack its n-th archive.
func (p *program) packs(n int) bool {
	for line := range strings.Lines(p.out.String()) {
		if strings.Contains(line, `"type":"begin"`) && strings.Contains(line, `"stage":"pack"`) && strings.Contains(line, fmt.Sprintf("_%04d.", n)) {
			return true
		}
	}
	return false
}

// staged is how many bytes of archives lie in a stage, at the least: what is there on a
// second look, too, has been so all the time between, also if it was renamed.
func staged(dir string) (n int64) {
	before := stagedFiles(dir)
	for name, size := range stagedFiles(dir) {
		n += min(before[name], size)
	}
	return n
}

// stagedFiles are the sizes of the archives in a stage, by name, as they are come across.
func stagedFiles(dir string) map[string]int64 {
	sizes := map[string]int64{}
	for _, area := range []string{"temp", "final"} {
		_ = filepath.WalkDir(filepath.Join(dir, area), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil { // else it is gone by now
					sizes[strings.TrimSuffix(filepath.Base(path), ".part")] = info.Size()
				}
			}
			return nil
		})
	}
	return sizes
}
