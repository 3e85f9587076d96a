package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/config"
	"capstan/internal/copier"
	"capstan/internal/manifest"
	"capstan/internal/pipeline"
	"capstan/internal/policy"
	"capstan/internal/progress"
	"capstan/internal/source/files"
	"capstan/internal/volume/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a home, a source and a volume, and what was told.
type bench struct {
	Runner
	dir      string
	opened   int
	closed   int
	unopened int // openings that failed

	mu   sync.Mutex
	told []string
}

// closing counts how often a volume is closed.
type closing struct {
	capstan.Volume
	closed *int
}

func (c *closing) Close() error {
	*c.closed++
	return c.Volume.Close()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(b.dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "data", "a"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	records, err := catalog.Open(t.Context(), filepath.Join(b.dir, "catalog.db"), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = records.Close()
		if b.opened != b.closed+b.unopened {
			t.Errorf("opened %d times, closed %d times", b.opened, b.closed)
		}
	})
	key, err := manifest.LoadOrCreateKey(filepath.Join(b.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	tell := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told = append(b.told, fmt.Sprintf(format, args...))
	}
	b.Runner = Runner{Warn: tell, Engine: &pipeline.Engine{
		Catalog: records, Tracker: progress.New(time.Now), Key: key, Host: "test", Now: time.Now, Say: tell, Warn: tell, Memory: 16 * capstan.MiB,
		Open: func(_ context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
			return dir.Open(info.Location, dir.Options{Known: info.ID, Catalog: key.ID()})
		},
	}}
	return b
}

// plan is a named job of the bench with commands of the shell, which run in its directory.
func (b *bench) plan(pre, post string) Plan {
	hooks := func(phase config.Phase, script string) []config.Hook {
		if script == "" {
			return nil
		}
		hook := config.NewHook(phase, script)
		hook.Dir = b.dir
		return []config.Hook{hook}
	}
	return Plan{
		Name: "nightly", Pre: hooks(config.PreHook, pre), Post: hooks(config.PostHook, post),
		Backup: pipeline.Backup{Codec: capstan.CodecZstd, Level: 1, ArchiveSize: capstan.GiB},
		AdHoc:  func([]capstan.Source, []copier.Volume) capstan.JobKey { return "adhoc-1" },
		Open: func(context.Context) (opened Opened, err error) {
			b.opened++
			source, err := files.New(filepath.Join(b.dir, "data"), files.Options{})
			if err != nil {
				b.unopened++
				return opened, err
			}
			volume, err := dir.Open(filepath.Join(b.dir, "vol"), dir.Options{Create: true, Catalog: b.Engine.Key.ID()})
			if err != nil {
				return opened, err
			}
			opened.Sources = []capstan.Source{source}
			opened.Volumes = []copier.Volume{{Info: volume.Info(), Opened: &closing{volume, &b.closed}}}
			return opened, nil
		},
	}
}

func (b *bench) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

const note = `echo "$CAPSTAN_JOB $CAPSTAN_STATUS $CAPSTAN_SET $CAPSTAN_RUN" >> post`

func TestCommandsSurroundTheBackup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	// What pre makes is in the set, so it ran before the sources were opened.
	summary, err := b.Run(t.Context(), b.plan("mv data away && mkdir data && mv away data/sub", note))
	if err != nil || summary.Status != capstan.RunComplete || summary.Entries != 3 {
		t.Fatalf("got %+v, %v", summary, err)
	}
	if want := fmt.Sprintf("nightly complete %s %d", summary.Set, summary.Run); b.read(t, "post") != want {
		t.Errorf("post saw %q, want %q", b.read(t, "post"), want)
	}
	var stages []string
	for _, stage := range summary.Stages {
		stages = append(stages, stage.Name)
		if stage.Name == "pre" && stage.WaitingFor["hook"] <= 0 {
			t.Errorf("the time of the command is not declared: %+v", stage)
		}
	}
	if !slices.Contains(stages, "pre") {
		t.Errorf("stages %q", stages)
	}
	set, err := b.Engine.Catalog.Latest(t.Context(), "nightly")
	if err != nil || set.ID != summary.Set {
		t.Errorf("the job's latest set: %+v, %v", set, err)
	}
	lock, err := b.Engine.Catalog.LockJob(t.Context(), "nightly")
	if err != nil {
		t.Fatalf("the lock is still held: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestFailedPreCommandMeansNoBackup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	summary, err := b.Run(t.Context(), b.plan("exit 5", note))
	if err == nil || !strings.Contains(err.Error(), "exit status 5") || summary.Status != capstan.RunFailed || summary.Set != "" || b.opened != 0 {
		t.Fatalf("got %+v, %v; opened %d times", summary, err, b.opened)
	}
	if want := fmt.Sprintf("nightly failed  %d", summary.Run); b.read(t, "post") != want {
		t.Errorf("post saw %q, want %q", b.read(t, "post"), want)
	}
	run, err := b.Engine.Catalog.Run(t.Context(), summary.Run)
	if err != nil || run.Status != capstan.RunFailed || run.Job != "nightly" || !strings.Contains(string(run.Summary), "exit status 5") {
		t.Errorf("the catalog has %+v, %v", run, err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "vol")); err == nil {
		t.Error("the volume was made")
	}
}

func TestPostRunsWhenASourceCannotBeOpened(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	summary, err := b.Run(t.Context(), b.plan("rm -r data", note))
	if err == nil || summary.Status != capstan.RunFailed {
		t.Fatalf("got %+v, %v", summary, err)
	}
	if want := fmt.Sprintf("nightly failed  %d", summary.Run); b.read(t, "post") != want {
		t.Errorf("post saw %q, want %q", b.read(t, "post"), want)
	}
}

func TestNamedJobThatCannotBeginIsRecorded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := os.RemoveAll(filepath.Join(b.dir, "data")); err != nil {
		t.Fatal(err)
	}
	summary, err := b.Run(t.Context(), b.plan("", ""))
	if err == nil || summary.Run == 0 {
		t.Fatalf("got %+v, %v", summary, err)
	}
	if run, err := b.Engine.Catalog.Run(t.Context(), summary.Run); err != nil || run.Status != capstan.RunFailed || run.Job != "nightly" {
		t.Errorf("the catalog has %+v, %v", run, err)
	}
}

func TestPostThatMustNotFail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	plan := b.plan("", "exit 6")
	plan.Post[0].OnFailure = config.PolicyFail
	summary, err := b.Run(t.Context(), plan)
	if summary.Status != capstan.RunComplete || err == nil || !strings.Contains(err.Error(), "set "+string(summary.Set)+" is stored") {
		t.Errorf("got %+v, %v", summary, err)
	}
}

func TestPostFollowsAnInterruption(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, &capstan.Error{Class: capstan.ErrInterrupted, Op: "stopped by the test"})
	defer cancel()
	summary, err := b.Run(ctx, b.plan("sleep 1000", note))
	if !errors.Is(err, capstan.ErrInterrupted) || summary.Status != capstan.RunInterrupted {
		t.Fatalf("got %+v, %v", summary, err)
	}
	if want := fmt.Sprintf("nightly interrupted  %d", summary.Run); b.read(t, "post") != want {
		t.Errorf("post saw %q, want %q", b.read(t, "post"), want)
	}
	// The next run is none the worse for it.
	if summary, err := b.Run(t.Context(), b.plan("", note)); err != nil || summary.Status != capstan.RunComplete {
		t.Errorf("got %+v, %v", summary, err)
	}
}

func TestLockedJobRunsNoCommands(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nightly", ""} {
		b := newBench(t)
		plan := b.plan("touch pre", note)
		plan.Name = name
		key := capstan.JobKey(name)
		if name == "" {
			key = "adhoc-1"
		}
		lock, err := b.Engine.Catalog.LockJob(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		summary, err := b.Run(t.Context(), plan)
		if !errors.Is(err, capstan.ErrLocked) || summary.Run != 0 {
			t.Errorf("%q: got %+v, %v", name, summary, err)
		}
		if b.read(t, "post") != "" {
			t.Errorf("%q: a post hook was run", name)
		}
		if _, err := os.Stat(filepath.Join(b.dir, "pre")); err == nil {
			t.Errorf("%q: a pre hook was run", name)
		}
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
	}
}

func TestAdHocRunHasItsCommandsToo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	plan := b.plan("touch data/b", note)
	plan.Name = ""
	summary, err := b.Run(t.Context(), plan)
	if err != nil || summary.Entries != 3 {
		t.Fatalf("got %+v, %v", summary, err)
	}
	if want := fmt.Sprintf("adhoc-1 complete %s %d", summary.Set, summary.Run); b.read(t, "post") != want {
		t.Errorf("post saw %q, want %q", b.read(t, "post"), want)
	}
}

func TestPolicyIsAppliedAfterACompleteBackup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	plan := b.plan("", `ls vol >> post`)
	first, err := b.Run(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	plan.Forget = &pipeline.Forget{Rules: policy.Rules{Last: 1}}
	second, err := b.Run(t.Context(), plan)
	if err != nil || !slices.Equal(second.Forgotten, []capstan.SetID{first.Set}) {
		t.Fatalf("got %+v, %v", second, err)
	}
	// The sets are gone before the hooks after it run: these may unmount the volume.
	if seen := b.read(t, "post"); strings.Count(seen, string(first.Set)) != 1 || strings.Count(seen, string(second.Set)) != 1 {
		t.Errorf("post saw %q", seen)
	}
	// A volume that does not answer is told of; the set is stored all the same.
	b.Engine.Open = func(context.Context, capstan.VolumeInfo) (capstan.Volume, error) { return nil, errors.New("gone") }
	third, err := b.Run(t.Context(), plan)
	if err != nil || third.Status != capstan.RunComplete || !slices.Equal(third.Forgotten, []capstan.SetID{second.Set}) {
		t.Errorf("got %+v, %v", third, err)
	}
	if all := strings.Join(b.told, "\n"); !strings.Contains(all, "still holds some of it (gone)") {
		t.Errorf("told:\n%s", all)
	}
}

func TestPolicyIsNotAppliedAfterAFailure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	plan := b.plan("", "")
	for range 2 {
		if _, err := b.Run(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
	}
	plan = b.plan("exit 1", "")
	plan.Forget = &pipeline.Forget{Rules: policy.Rules{Last: 1}}
	if summary, err := b.Run(t.Context(), plan); err == nil || len(summary.Forgotten) > 0 {
		t.Errorf("got %+v, %v", summary, err)
	}
	if sets, err := b.Engine.Catalog.Retained(t.Context(), "nightly"); err != nil || len(sets) != 2 {
		t.Errorf("sets %+v, %v", sets, err)
	}
}
