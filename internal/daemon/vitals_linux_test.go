package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vital is one figure that shall not grow.
type vital int

const (
	heap vital = iota // bytes of live objects
	resident
	descriptors
	goroutines
	threads
	journal // bytes of the catalog's write-ahead log
	ledger  // bytes of the catalog: it grows with the history of runs
	vitalsEnd
)

func (v vital) String() string {
	return [...]string{"heap", "resident memory", "open files", "goroutines", "threads", "write-ahead log", "catalog"}[v]
}

// slack is by how much the end may be above the beginning.
func (v vital) slack(begin float64, rounds int) float64 {
	const mib = 1 << 20
	return [...]float64{
		heap: max(1*mib, begin/10), resident: max(24*mib, begin/5), descriptors: 2, goroutines: 3, threads: 4,
		journal: 24 * mib, // it is written back every 16 MiB
		ledger:  64 << 10 * float64(rounds),
	}[v]
}

// vitals are all figures after a round.
type vitals struct {
	at time.Duration
	of [vitalsEnd]float64
}

// measure takes the figures, after what is garbage has been collected and what ends
// has ended.
func measure(t *testing.T, catalog string, at time.Duration) (v vitals) {
	t.Helper()
	runtime.GC()
	runtime.GC() // what finalizers and pools of the first have let go
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	v.at = at
	v.of[heap] = float64(memory.HeapAlloc)
	v.of[goroutines] = float64(runtime.NumGoroutine())
	v.of[descriptors] = entries(t, "/proc/self/fd")
	v.of[threads] = entries(t, "/proc/self/task")
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	v.of[resident] = float64(pages * os.Getpagesize())
	for end, of := range map[string]vital{"": ledger, "-wal": journal} {
		if info, err := os.Stat(catalog + end); err == nil {
			v.of[of] = float64(info.Size())
		}
	}
	return v
}

func entries(t *testing.T, dir string) float64 {
	t.Helper()
	found, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return float64(len(found))
}

// judge compares the last third of a run with the one before, by their medians: in
// the first everything finds its size. It fails on growth beyond the slack.
func judge(t *testing.T, all []vitals) {
	t.Helper()
	third := len(all) / 3
	var text strings.Builder
	fmt.Fprintf(&text, "%d rounds, %.0f s\n%-16s %12s %12s %12s %12s\n", len(all), all[len(all)-1].at.Seconds(), "median of third", "first", "second", "last", "peak")
	for v := range vitalsEnd {
		var of []float64
		for _, sample := range all {
			of = append(of, sample.of[v])
		}
		first, second, last := median(of[:third]), median(of[third:2*third]), median(of[2*third:])
		fmt.Fprintf(&text, "%-16s %12.0f %12.0f %12.0f %12.0f\n", v, first, second, last, slices.Max(of))
		if last > second+v.slack(second, third) {
			t.Errorf("%s: from %.0f to %.0f", v, second, last)
		}
	}
	t.Log(text.String())
	if t.Failed() {
		stacks := make([]byte, 1<<20)
		t.Logf("goroutines:\n%s", stacks[:runtime.Stack(stacks, true)])
	}
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
