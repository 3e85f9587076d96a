package cli_test

import (
	"bufio"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest/slowfs"
)

// said is a line that a program printed, and when it was read.
type said struct {
	at   time.Time
	text string
}

// talk runs a program to its end and takes down what it prints on either stream,
// with the time.
func (f *field) talk(args ...string) (lines []said, code int) {
	f.t.Helper()
	cmd := f.command(f.t.Context(), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	lines = append(lines, said{at: time.Now()})
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	var mu sync.Mutex
	var readers sync.WaitGroup
	for _, stream := range []io.Reader{out, errs} {
		readers.Go(func() {
			scanner := bufio.NewScanner(stream)
			scanner.Buffer(nil, 1<<20)
			for scanner.Scan() {
				mu.Lock()
				lines = append(lines, said{time.Now(), scanner.Text()})
				mu.Unlock()
			}
		})
	}
	readers.Wait()
	_ = cmd.Wait() // its code says it
	return append(lines, said{at: time.Now()}), cmd.ProcessState.ExitCode()
}

// silence is the longest time without a line, and the line before it.
func silence(lines []said) (longest time.Duration, after string) {
	for i := 1; i < len(lines); i++ {
		if d := lines[i].at.Sub(lines[i-1].at); d > longest {
			longest, after = d, lines[i-1].text
		}
	}
	return longest, after
}

// report is the summary's account of a stage.
type stageReport struct {
	Name    string             `json:"name"`
	Moving  float64            `json:"seconds_moving"`
	Waiting map[string]float64 `json:"waiting_for"`
}

// TestTimeline plays what the predecessor's users saw as minutes without a word: a
// file whose closing takes long, a move that takes long, and a volume that takes
// long. Nothing is silent for longer than the warning time, what holds the run up is
// named while it does, and afterwards the report says where the time went.
func TestTimeline(t *testing.T) {
	t.Parallel()
	const (
		warn  = 2 * time.Second
		still = 9 * time.Second     // each of the two hold-ups
		limit = still - time.Second // the watchdog looks every second: the most of this is for a busy machine
		rate  = capstan.MiB         // of the slow volume, a second
	)
	f := newField(t)
	f.copies = 2
	garden(t, f.data, 31)
	f.inMemory(f.vol, filepath.Join(f.dir, "home"))
	second, stage := f.slowly(filepath.Join(f.dir, "second")), f.slowly(filepath.Join(f.dir, "stage"))
	stage.Add(slowfs.Rule{Op: slowfs.Close, Name: "*_0002.*", Times: 1, Delay: still})
	stage.Add(slowfs.Rule{Op: slowfs.Rename, Name: "*_0004.*", Times: 1, Delay: still})
	second.Add(slowfs.Rule{Op: slowfs.Write, Name: "backup_*", Rate: int64(rate)})
	lines, code := f.talk("backup", f.data, "--to", f.vol, "--to", second.Dir, "--stage", stage.Dir, "--archive-size", "1MiB",
		"--json", "--stall-warn", warn.String(), "--stall-fail", "5m")
	if code != 0 {
		t.Fatalf("exit %d: %v", code, lines)
	}
	longest, after := silence(lines)
	t.Logf("the longest silence was %s, after: %.200s", longest, after)
	if longest > limit {
		t.Errorf("nothing was said for %s, after: %s", longest, after)
	}
	for _, archive := range []string{"_0002.", "_0004."} { // while it is held up
		named := 0
		for _, line := range lines {
			if strings.Contains(line.text, "stalled: stage commit has been waiting for volume ("+stage.Dir+")") && strings.Contains(line.text, archive) {
				named++
			}
		}
		if named < 2 {
			t.Errorf("what held %s up was named %d times", archive, named)
		}
	}
	var summary struct {
		Seconds float64       `json:"seconds"`
		Stages  []stageReport `json:"stages"`
		Bound   string        `json:"bottleneck"`
	}
	for _, line := range lines {
		if strings.Contains(line.text, `"type":"summary"`) {
			if err := json.Unmarshal([]byte(line.text), &summary); err != nil {
				t.Fatal(err)
			}
		}
	}
	stages := map[string]stageReport{}
	for _, s := range summary.Stages {
		stages[s.Name] = s
	}
	t.Logf("%.1f s in all, bound: %s", summary.Seconds, summary.Bound)
	held := (2 * still).Seconds()
	// What the writing does in the stage's own books counts as its moving; they wait for
	// the same directories.
	commit, write, pack, slow := stages["commit"], stages["write"], stages["pack"], stages["copy to "+second.Dir]
	if commit.Waiting["volume"] < held || write.Waiting["commit"] < held*2/5 || write.Moving > held*3/5 || pack.Moving > held*4/9 {
		t.Errorf("the report lays the closing and the moving elsewhere: commit %+v, write %+v, pack %+v", commit, write, pack)
	}
	if slow.Waiting["volume"] < 4 { // 7 MiB at 1 MiB/s
		t.Errorf("the report lays the slow volume elsewhere: %+v", slow)
	}
	if !strings.Contains(summary.Bound, "commit") && !strings.Contains(summary.Bound, "volume") {
		t.Errorf("the report says that the run was bound so: %q", summary.Bound)
	}
	f.whole(f.onlySet().Set)
}
