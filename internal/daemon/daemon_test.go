package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capstan/internal/progress"
)

// told collects what was said.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (t *told) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

func TestWaitsAreDeclaredAndTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var said told
		w := &waits{tracker: progress.New(time.Now), say: said.say, after: sayAfter}
		w.begin("catalog")() // a short one is not told
		first, second := w.begin("catalog"), w.begin("catalog")
		time.Sleep(sayAfter + time.Second)
		if state := w.tracker.Snapshot().Stages[0]; state.Active != 2 || state.Waiting != progress.ForCatalog {
			t.Errorf("two wait, but the stage says %+v", state)
		}
		first()
		second()
		synctest.Wait()
		if state := w.tracker.Snapshot().Stages[0]; state.Active != 0 || state.Waiting != "" {
			t.Errorf("nobody waits, but the stage says %+v", state)
		}
		if waited := w.tracker.Report()[0].WaitingFor[progress.ForCatalog]; waited < 4 {
			t.Errorf("%.1f s of waiting were counted", waited)
		}
		said.mu.Lock()
		defer said.mu.Unlock()
		if len(said.lines) != 1 || !strings.Contains(said.lines[0], "waiting for the catalog") {
			t.Errorf("said %q", said.lines)
		}
	})
}

func TestVolumePathIsTheOneItWillHave(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(dir, "real", "new", "vol")
	for _, moment := range []string{"before", "after"} {
		got, err := VolumePath(filepath.Join(dir, "link", "new", "vol"))
		if err != nil || got != want {
			t.Errorf("%s it is made: got %s, %v, want %s", moment, got, err, want)
		}
		if err := os.MkdirAll(want, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPatternsThatArePaths(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	twice := filepath.Join(root, "twice")
	if err := os.MkdirAll(filepath.Join(twice, twice, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	for pattern, warned := range map[string]bool{
		filepath.Join(root, "tmp"):        true,
		filepath.Join(root, "*.o"):        true,
		"!" + filepath.Join(root, "a/b/"): true,
		"/tmp":                            false,
		"tmp":                             false,
		root:                              false,
		root + "x/tmp":                    false,
	} {
		var said told
		(&Daemon{warn: said.say}).warnOfPaths(root, []string{pattern})
		if (len(said.lines) == 1) != warned {
			t.Errorf("%s: said %q", pattern, said.lines)
		}
	}
	var said told
	(&Daemon{warn: said.say}).warnOfPaths(twice, []string{filepath.Join(twice, "tmp")})
	if len(said.lines) != 0 {
		t.Errorf("the source holds it, yet: %q", said.lines)
	}
}
