package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/daemon"
	"capstan/internal/pipeline"
)

const mib = 1 << 20

// manyEntries is how many entries TestMemoryOfManyEntries has in its larger forest.
var manyEntries = flag.Int("entries", 300_000, "entries of the larger forest; 10000000 for the whole claim")

// phaseVariable makes the test binary run one phase and report it.
const phaseVariable = "CAPSTANTEST_PHASE"

// phase is one thing to do with a forest, in a process of its own, so that its
// peak of memory is its own.
type phase struct {
	Dir         string
	Dirs, Files int
	Version     int
	Do          string // "backup" or "compare"
	Mode        pipeline.Mode
}

// report is what a phase came to.
type report struct {
	Error   string
	Counts  capstan.Counts
	Seconds float64
	Peak    int64 // bytes
	Catalog int64 // bytes on disk
}

func TestMain(m *testing.M) {
	if text := os.Getenv(phaseVariable); text != "" {
		var p phase
		err := json.Unmarshal([]byte(text), &p)
		var r report
		if err == nil {
			r, err = p.run(context.Background())
		}
		if err != nil {
			r.Error = err.Error()
		}
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func (p phase) run(ctx context.Context) (r report, err error) {
	d, err := daemon.Open(ctx, daemon.Options{Home: filepath.Join(p.Dir, "home")})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	source := &forest{dirs: p.Dirs, files: p.Files, version: p.Version}
	begin := time.Now()
	switch p.Do {
	case "backup":
		r.Counts, err = backup(ctx, d, source, filepath.Join(p.Dir, "volume"), p.Mode)
	case "compare":
		r.Counts.Entries, err = compare(ctx, d, source)
	}
	r.Seconds = time.Since(begin).Seconds()
	for _, end := range []string{"", "-wal"} {
		if info, err := os.Stat(d.Home.Catalog() + end); err == nil {
			r.Catalog += info.Size()
		}
	}
	r.Peak = peak()
	return r, err
}

func backup(ctx context.Context, d *daemon.Daemon, source capstan.Source, to string, mode pipeline.Mode) (capstan.Counts, error) {
	volumes, err := d.Volumes(ctx, []string{to})
	if err != nil {
		return capstan.Counts{}, err
	}
	sources := []capstan.Source{source}
	summary, err := d.Engine.Backup(ctx, pipeline.Backup{
		Job: daemon.AdHocJob(sources, volumes), Sources: sources, Volumes: volumes,
		Codec: capstan.CodecZstd, Level: 1, ArchiveSize: 4 * capstan.GiB, Mode: mode,
	})
	return summary.Counts, err
}

// compare walks the view of the last set beside the forest: they are the same,
// entry by entry.
func compare(ctx context.Context, d *daemon.Daemon, source *forest) (n int64, err error) {
	set, err := d.Catalog.Latest(ctx, "")
	if err != nil {
		return 0, err
	}
	view, err := d.Engine.View(ctx, set.ID)
	if err != nil {
		return 0, err
	}
	next, stop := iter.Pull2(source.all())
	defer stop()
	for held, err := range view.Walk(ctx, "") {
		if err != nil {
			return n, err
		}
		want, _, ok := next()
		if !ok || held.Path != want.Path || held.Kind != want.Kind || held.Size != want.Size || held.Hash != want.Hash ||
			!held.ModTime.Equal(want.ModTime) || held.Ino != want.Ino || !held.Outcome.Held() || held.Archive == 0 {
			return n, fmt.Errorf("entry %d: held %+v, want %+v", n, held, want)
		}
		n++
	}
	if want, _, ok := next(); ok {
		return n, fmt.Errorf("nothing is held after %d entries, want %s", n, want.Path)
	}
	return n, nil
}

// peak is the high-water mark of this process's resident memory, in bytes.
func peak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// play runs a phase in a process of its own.
func (p phase) play(t *testing.T) report {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), phaseVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil || r.Error != "" || r.Peak == 0 {
		t.Fatalf("%+v: %v %s", p, err, out)
	}
	return r
}

// season backs a forest up in three versions, a full and two incremental sets,
// and compares what is held of the last; it gives the peak of each phase.
func season(t *testing.T, dirs, files int) (peaks map[string]int64) {
	t.Helper()
	dir := t.TempDir()
	peaks = map[string]int64{}
	var catalog int64
	for version, mode := range []pipeline.Mode{pipeline.Full, pipeline.Incremental, pipeline.Incremental} {
		p := phase{Dir: dir, Dirs: dirs, Files: files, Version: version, Do: "backup", Mode: mode}
		r := p.play(t)
		name := fmt.Sprintf("%s %d", mode, version)
		peaks[name] = r.Peak
		recorded := r.Counts.Stored + r.Counts.Deleted
		t.Logf("%s: %+v, %.1f s, %.0f entries/s, peak %d MiB, catalog %.0f bytes for each of %d entries", name, r.Counts,
			r.Seconds, float64(r.Counts.Entries)/r.Seconds, r.Peak/mib, float64(r.Catalog-catalog)/float64(recorded), recorded)
		catalog = r.Catalog
		if version > 0 && (r.Counts.Deleted == 0 || r.Counts.Stored == 0 || r.Counts.Unchanged < r.Counts.Entries*9/10) {
			t.Errorf("%s: %+v: this shows too little", name, r.Counts)
		}
	}
	r := phase{Dir: dir, Dirs: dirs, Files: files, Version: 2, Do: "compare"}.play(t)
	t.Logf("compare: %d entries, %.1f s, peak %d MiB", r.Counts.Entries, r.Seconds, r.Peak/mib)
	peaks["compare"] = r.Peak
	return peaks
}

// TestMemoryOfManyEntries backs up two forests, fully and incrementally, of which
// one is several times as large: both stay within 200 MiB, and the larger one takes
// hardly more than the smaller. With -entries=10000000 it takes some twenty minutes.
func TestMemoryOfManyEntries(t *testing.T) {
	const files = 1000
	for name, shape := range map[string]func(entries int) (dirs, files int){
		"directories":   func(n int) (int, int) { return n / files, files },
		"one directory": func(n int) (int, int) { return 1, n },
	} {
		t.Run(name, func(t *testing.T) {
			dirs, files := shape(*manyEntries / 5)
			small := season(t, dirs, files)
			dirs, files = shape(*manyEntries)
			large := season(t, dirs, files)
			for phase, peak := range large {
				before := small[phase]
				if strings.HasPrefix(phase, string(pipeline.Full)) { // few entries do not fill the buffers of the packing
					before = max(before, 160*mib)
				}
				if peak > 200*mib || peak > before+32*mib {
					t.Errorf("%s: peak of %d MiB, with a fifth of the entries %d MiB", phase, peak/mib, small[phase]/mib)
				}
			}
		})
	}
}
