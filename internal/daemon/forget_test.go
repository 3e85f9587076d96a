package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/pipeline"
	"capstan/internal/policy"
)

// keeper is a home with a job whose sets come and go.
type keeper struct {
	*testing.T
	*Daemon
	dir, location string
	said          told
	made          int
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{T: t, dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(k.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), Options{Home: filepath.Join(k.dir, "home"), Say: k.said.say})
	if err != nil {
		t.Fatal(err)
	}
	k.Daemon = d
	t.Cleanup(func() {
		if problems, err := d.Catalog.Check(context.WithoutCancel(t.Context())); err != nil || len(problems) > 0 {
			t.Errorf("catalog check: %q %v", problems, err)
		}
		_ = d.Close()
	})
	return k
}

// backup makes a full set of one file more.
func (k *keeper) backup() capstan.SetID {
	k.Helper()
	k.made++
	if err := os.WriteFile(filepath.Join(k.dir, "data", fmt.Sprint(k.made)), []byte("x"), 0o600); err != nil {
		k.Fatal(err)
	}
	return k.store(pipeline.Full).Set
}

// store makes a set of the data as it is.
func (k *keeper) store(mode pipeline.Mode) pipeline.Summary {
	k.Helper()
	volumes, err := k.Volumes(k.Context(), []string{filepath.Join(k.dir, "vol")})
	if err != nil {
		k.Fatal(err)
	}
	k.location = volumes[0].Info.Location
	sources, err := k.Sources([]string{filepath.Join(k.dir, "data")}, []string{k.location}, SourceOptions{})
	if err != nil {
		k.Fatal(err)
	}
	summary, err := k.Engine.Backup(k.Context(), pipeline.Backup{
		Job: "job", Sources: sources, Volumes: volumes, Codec: capstan.CodecZstd, Level: 1, ArchiveSize: capstan.GiB, Mode: mode,
	})
	if err != nil {
		k.Fatal(err)
	}
	return summary
}

func (k *keeper) forget(ids ...capstan.SetID) (pipeline.Forgotten, error) {
	k.Helper()
	return k.Engine.Forget(k.Context(), pipeline.Forget{Job: "job", Sets: ids, Why: "the test"})
}

// there reports whether the volume has a directory of the set.
func (k *keeper) there(id capstan.SetID) bool {
	_, err := os.Stat(filepath.Join(k.location, string(id)))
	return err == nil
}

// A set that is being restored is held; a restore that is over holds nothing.
func TestForgetWaitsForRestores(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	first, second := k.backup(), k.backup()
	run, err := k.Catalog.BeginRun(t.Context(), first, "job", "restore", k.Engine.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.forget(first); !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), "being restored") || !k.there(first) {
		t.Errorf("while it is restored: %v", err)
	}
	plan, err := k.Engine.ForgetPlan(t.Context(), pipeline.Forget{Job: "job", Rules: policy.Rules{Last: 1}})
	if err != nil || len(plan.LetGo()) != 0 {
		t.Errorf("by the rules: %+v %v", plan, err)
	}
	if err := k.Catalog.FinishRun(t.Context(), run, capstan.RunComplete, capstan.Counts{}, nil); err != nil {
		t.Fatal(err)
	}
	done, err := k.forget(first)
	if err != nil || k.there(first) || !k.there(second) || len(done.Erased) != 1 || done.Erased[0].Bytes == 0 {
		t.Errorf("when it is over: %+v %v", done, err)
	}
	// A verification that had the set in its list passes over it.
	summary, err := k.Engine.Verify(t.Context(), pipeline.Verify{Sets: []capstan.SetID{first, second}, ReadData: 100})
	if err != nil || summary.Failed != 0 || summary.Read != 1 {
		t.Errorf("verify: %+v %v", summary, err)
	}
}

func TestForgetNeedsSomethingToGoBy(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.backup()
	if _, err := k.forget(); !errors.Is(err, capstan.ErrUsage) {
		t.Errorf("without rules and sets: %v", err)
	}
	lock, err := k.Catalog.LockJob(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.forget("2026-11_000001"); !errors.Is(err, capstan.ErrLocked) {
		t.Errorf("while the job runs: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}

// What a cartridge holds is forgotten and not removed, and can be listed still.
func TestCartridgesKeepWhatIsForgotten(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	first := k.backup()
	k.backup()
	ctx := t.Context()
	tape := capstan.VolumeInfo{ID: "11111111-0000-4000-8000-000000000001", Kind: "tape", Location: "tape:TP20261101"}
	if err := errors.Join(
		k.Catalog.EnsureVolume(ctx, tape),
		k.Catalog.SetCopy(ctx, first, 1, tape.ID, capstan.CopyWritten, "", k.Engine.Now()),
	); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds nothing to do
		done, err := k.forget(first)
		if err != nil || len(done.Left) != 0 || k.there(first) {
			t.Errorf("%+v %v", done, err)
		}
	}
	entries := 0
	for _, err := range k.Catalog.Walk(ctx, first, "") {
		if err != nil {
			t.Fatal(err)
		}
		entries++
	}
	left, err := k.Engine.Leftovers(ctx, "job")
	if err != nil || len(left) != 1 || left[0].Volume != tape.ID || entries == 0 {
		t.Errorf("left %+v, %d entries, %v", left, entries, err)
	}
}

// A volume that does not answer keeps its files, which the next backup to it
// removes; so the catalog says in between.
func TestVolumeThatIsAwayIsCleanedLater(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	first := k.backup()
	k.backup()
	open := k.Engine.Open
	k.Engine.Open = func(context.Context, capstan.VolumeInfo) (capstan.Volume, error) {
		return nil, errors.New("no such host")
	}
	done, err := k.forget(first)
	if !errors.Is(err, capstan.ErrIncomplete) || len(done.Left) != 1 || done.Left[0].Problem != "no such host" || !k.there(first) {
		t.Errorf("%+v %v", done, err)
	}
	if _, err := k.Catalog.Set(t.Context(), first); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("its entries are there: %v", err)
	}
	k.Engine.Open = open
	third := k.backup()
	if left, err := k.Engine.Leftovers(t.Context(), ""); err != nil || len(left) != 0 || k.there(first) || !k.there(third) {
		t.Errorf("left after the next backup: %+v %v", left, err)
	}
}

// Files that Capstan did not make stay, and so does their directory.
func TestFilesOfOthersStay(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	first := k.backup()
	k.backup()
	for _, name := range []string{"notes.txt", "backup_1999-01_000001_0001.tar.zst"} {
		if err := os.WriteFile(filepath.Join(k.location, string(first), name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.forget(first); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(k.location, string(first)))
	if err != nil || len(files) != 3 { // and the owner file
		t.Errorf("left %v %v", files, err)
	}
	k.said.mu.Lock()
	defer k.said.mu.Unlock()
	if all := strings.Join(k.said.lines, "\n"); !strings.Contains(all, "notes.txt in set "+string(first)) {
		t.Errorf("not said:\n%s", all)
	}
}

// What the stage still holds of a forgotten set is removed when the stage is opened.
func TestStageGivesUpWhatIsForgotten(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	first := k.backup()
	k.backup()
	ctx := t.Context()
	place := filepath.Join(k.dir, "stage")
	open := func() {
		t.Helper()
		s, err := k.Engine.OpenStage(ctx, place, capstan.GiB)
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	open()
	name := capstan.ArchiveName(first, 1, capstan.CodecZstd)
	bytes, err := os.ReadFile(filepath.Join(k.location, string(first), name))
	if err != nil {
		t.Fatal(err)
	}
	staged := filepath.Join(place, "final", string(first), name)
	if err := errors.Join(os.Mkdir(filepath.Dir(staged), 0o700), os.WriteFile(staged, bytes, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.forget(first); err != nil {
		t.Fatal(err)
	}
	open()
	if _, err := os.Stat(staged); !errors.Is(err, os.ErrNotExist) {
		k.said.mu.Lock()
		defer k.said.mu.Unlock()
		t.Errorf("it is there still: %v\n%s", err, strings.Join(k.said.lines, "\n"))
	}
	if found, err := filepath.Glob(filepath.Join(place, "*", "*backup*")); err != nil || len(found) > 0 {
		t.Errorf("set aside: %q %v", found, err)
	}
}
