package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
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
	"capstan/internal/disk"
	"capstan/internal/progress"
	"capstan/internal/stage"
	"capstan/internal/volume/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	rigJob   = capstan.JobKey("job")
	rigOwner = "home#word"
	endName  = "manifest.test" // the file that Finish writes
)

// rig is a catalog, a stage and two volumes in one directory, with a set that is
// being packed. What it holds is on the disk: a second rig in the same directory is
// the next process.
type rig struct {
	t       *testing.T
	home    string
	catalog *catalog.Catalog
	stage   *stage.Stage
	set     capstan.SetID
	names   []string // of the volumes
	volumes []Volume
	options Options
	queue   *Queue
	placed  bool // a finished file on a volume that is not what was packed

	mu     sync.Mutex
	faults map[string]disk.FaultFunc // by volume, and "stage"
	said   []string
}

// memory is a directory whose syncs cost nothing, for sweeps over very many steps.
func memory(t *testing.T) string {
	t.Helper()
	at, err := os.MkdirTemp("/dev/shm", "capstan") //nolint:usetesting // this filesystem is what it is about
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(at); err != nil {
			t.Error(err)
		}
	})
	return at
}

// newRig opens what is in the directory, and makes what is not there yet.
func newRig(t *testing.T, home string) *rig {
	t.Helper()
	r := &rig{t: t, home: home, names: []string{"a", "b"}, faults: map[string]disk.FaultFunc{}}
	ctx := t.Context()
	var err error
	if r.catalog, err = catalog.Open(ctx, filepath.Join(home, "catalog.db"), catalog.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	if r.stage, err = stage.Open(ctx, filepath.Join(home, "stage"), stage.Options{Quota: capstan.GiB, Reserve: -1, FS: r.disk("stage")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range r.names {
		if err := os.MkdirAll(filepath.Join(home, name), 0o700); err != nil {
			t.Fatal(err)
		}
		v, err := r.openVolume(name, "")
		if err != nil {
			t.Fatal(err)
		}
		r.volumes = append(r.volumes, Volume{Info: v.Info()})
	}
	r.options = Options{
		Catalog: r.catalog, Tracker: progress.New(nil), Stage: r.stage, Open: r.open, Finish: r.finish, Owner: rigOwner, Say: r.say,
		Attempts: 3, Backoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond, Grace: 10 * time.Second,
	}
	r.begin()
	return r
}

// sealed is a home with archives in its stage and no process: sweeps copy it, since
// a new catalog costs more than all the rest.
func sealed(t *testing.T, sizes ...int) (home string) {
	t.Helper()
	r := newRig(t, memory(t))
	r.pack(sizes...)
	r.close()
	return r.home
}

// copied is a rig in a copy of a home.
func copied(t *testing.T, template string) *rig {
	t.Helper()
	home := memory(t)
	if err := os.CopyFS(home, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	return newRig(t, home)
}

// close ends this process, as far as it can be ended within the test's. It may be repeated.
func (r *rig) close() {
	if r.stage != nil {
		if err := r.stage.Close(); err != nil {
			r.t.Error(err)
		}
	}
	if err := r.catalog.Close(); err != nil {
		r.t.Error(err)
	}
}

// next is the process after this one.
func (r *rig) next() *rig {
	r.t.Helper()
	return newRig(r.t, r.home)
}

// disk asks the fault of a place that is set at the moment.
func (r *rig) disk(place string) disk.FS {
	return disk.FS{Faults: disk.FaultFunc(func(op disk.Op, path string, n int) error {
		r.mu.Lock()
		fault := r.faults[place]
		r.mu.Unlock()
		if fault == nil {
			return nil
		}
		return fault(op, path, n)
	})}
}

func (r *rig) fault(place string, fault disk.FaultFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[place] = fault
}

func (r *rig) openVolume(name string, known capstan.VolumeID) (*dir.Volume, error) {
	return dir.Open(filepath.Join(r.home, name), dir.Options{Create: known == "", Known: known, Catalog: "home", Reserve: -1, FS: r.disk(name)})
}

// open is Options.Open. A home that was copied lies elsewhere than its catalog says.
func (r *rig) open(_ context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
	return r.openVolume(filepath.Base(info.Location), info.ID)
}

func (r *rig) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *rig) requireSaid(words string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !strings.Contains(strings.Join(r.said, "\n"), words) {
		r.t.Errorf("nobody was told %q, but %q", words, r.said)
	}
}

func (r *rig) requireUnsaid(words string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.Contains(strings.Join(r.said, "\n"), words) {
		r.t.Errorf("somebody was told %q: %q", words, r.said)
	}
}

// begin makes the set, or finds it.
func (r *rig) begin() {
	r.t.Helper()
	ctx := r.t.Context()
	sets, err := r.catalog.OpenSets(ctx, rigJob)
	if err == nil && len(sets) > 0 {
		r.set = sets[0].ID
		r.must(r.stage.ClaimSet(ctx, r.set))
		return
	}
	r.must(err)
	ids := make([]capstan.VolumeID, len(r.volumes))
	for i, v := range r.volumes {
		ids[i] = v.Info.ID
		r.must(r.catalog.EnsureVolume(ctx, v.Info))
	}
	r.must(r.catalog.EnsureJob(ctx, rigJob, "", nil, nil))
	set, err := r.catalog.BeginSet(ctx, rigJob, "host", capstan.CodecNone, nil, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	r.must(err)
	r.set = set.ID
	r.must(r.catalog.Demand(ctx, r.set, ids...))
	r.must(r.stage.ClaimSet(ctx, r.set))
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// content is what an archive of the rig holds.
func archiveContent(number capstan.ArchiveNumber, size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i*31>>3) ^ byte(number)
	}
	return data
}

// pack seals the next archives in the stage and queues them.
func (r *rig) pack(sizes ...int) {
	r.t.Helper()
	ctx := r.t.Context()
	var ids []capstan.VolumeID
	for _, v := range r.volumes {
		ids = append(ids, v.Info.ID)
	}
	for _, size := range sizes {
		a, err := r.catalog.PlanArchive(ctx, r.set, capstan.CodecNone, ids...)
		r.must(err)
		file, err := r.stage.Create(ctx, r.set, a.Name, nil)
		r.must(err)
		data := archiveContent(a.Number, size)
		_, err = file.Write(data)
		r.must(err)
		r.must(file.Commit(ctx))
		a.Size, a.TarSize, a.Entries, a.Hash = int64(size), int64(size), 1, hashOf(data)
		r.must(r.catalog.CommitArchive(ctx, a, capstan.CopyQueued, ids))
		r.options.Tracker.Event(progress.Event{Type: progress.EventEnd, Stage: progress.StepEnqueue, Archive: a.Name})
		if r.queue != nil {
			r.queue.Wake()
		}
	}
}

// finish is Options.Finish: one small file, and the catalog's word.
func (r *rig) finish(ctx context.Context, volume capstan.Volume, beat func()) error {
	if err := volume.Remove(ctx, r.set, endName); err != nil {
		return err
	}
	if err := volume.ClaimSet(ctx, r.set, rigOwner); err != nil {
		return err
	}
	file, err := volume.Create(ctx, r.set, endName)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(file, "the end"); err != nil {
		return errors.Join(err, file.Abort())
	}
	beat()
	if err := file.Commit(ctx); err != nil {
		return err
	}
	return r.catalog.MeetDemand(ctx, r.set, volume.Info().ID, capstan.Hash{1})
}

func (r *rig) start(ctx context.Context) {
	r.queue = Start(ctx, r.options, r.set, r.volumes)
}

// drain ends the queue, whose outcomes come in the order of the volumes.
func (r *rig) drain(want ...capstan.CopyState) []Outcome {
	r.t.Helper()
	outcomes, err := r.queue.Drain()
	r.must(err)
	for i, state := range want {
		if outcomes[i].State != state || (state == capstan.CopyWritten) != (outcomes[i].Problem == "") {
			r.t.Errorf("volume %s: %+v, want %s", r.names[i], outcomes[i], state)
		}
	}
	return outcomes
}

// bring does everything.
func (r *rig) bring(want ...capstan.CopyState) []Outcome {
	r.t.Helper()
	r.start(r.t.Context())
	return r.drain(want...)
}

// complete asks again for what the volumes lack, as a retry does, and wants all of it.
func (r *rig) complete() {
	r.t.Helper()
	for _, v := range r.volumes {
		r.must(r.catalog.Demand(r.t.Context(), r.set, v.Info.ID))
	}
	r.tidy()
	r.bring(capstan.CopyWritten, capstan.CopyWritten)
	r.requireWhole()
}

// tidy does what the pipeline does when it opens a stage: what no volume waits for goes.
func (r *rig) tidy() {
	r.t.Helper()
	ctx := r.t.Context()
	report, err := r.stage.Reconcile(ctx, func(context.Context, capstan.SetID, string, int64) (stage.Fate, error) { return stage.Keep, nil })
	r.must(err)
	for _, file := range report.Kept {
		_, number, _, _ := capstan.ParseArchiveName(file.Name)
		awaited, err := r.catalog.Awaited(ctx, file.Set, number)
		r.must(err)
		if !awaited {
			r.must(r.stage.Remove(ctx, file.Set, file.Name))
		}
	}
}

func (r *rig) path(place, name string) string {
	if place == "stage" {
		place = filepath.Join(place, "final")
	}
	return filepath.Join(r.home, place, string(r.set), name)
}

func (r *rig) archives() []capstan.Archive {
	r.t.Helper()
	archives, err := r.catalog.Archives(r.t.Context(), r.set)
	r.must(err)
	return archives
}

// state is that of an archive on a volume.
func (r *rig) state(number capstan.ArchiveNumber, volume int) capstan.CopyState {
	return r.copyOf(number, volume).State
}

func (r *rig) copyOf(number capstan.ArchiveNumber, volume int) capstan.Copy {
	r.t.Helper()
	copies, err := r.catalog.CopiesOf(r.t.Context(), r.set, number)
	r.must(err)
	for _, c := range copies {
		if c.Volume == r.volumes[volume].Info.ID {
			return c
		}
	}
	r.t.Fatalf("archive %d has no copy on %s", number, r.names[volume])
	return capstan.Copy{}
}

// requireTrue compares what the catalog says with what is there: a copy that is
// written has its bytes, and an archive is in the stage for as long as it is awaited.
// It gives how many copies are written, by volume.
func (r *rig) requireTrue(when string) (written []int) {
	r.t.Helper()
	written = make([]int, len(r.volumes))
	for _, a := range r.archives() {
		for i, name := range r.names {
			data, err := os.ReadFile(r.path(name, a.Name))
			switch state := r.state(a.Number, i); {
			case err == nil && hashOf(data) != a.Hash && (!r.placed || state == capstan.CopyWritten):
				r.t.Errorf("%s: %s on %s has other bytes under its name, and is %s", when, a.Name, name, state)
			case err != nil && (state == capstan.CopyWritten || state == capstan.CopyVerified):
				r.t.Errorf("%s: %s on %s is %s: %v", when, a.Name, name, state, err)
			case state == capstan.CopyWritten:
				written[i]++
			}
		}
		awaited, err := r.catalog.Awaited(r.t.Context(), r.set, a.Number)
		r.must(err)
		data, err := os.ReadFile(r.path("stage", a.Name))
		if awaited && (err != nil || hashOf(data) != a.Hash) {
			r.t.Errorf("%s: %s is awaited, and not whole in the stage: %v", when, a.Name, err)
		}
	}
	return written
}

// requireWhole wants all of the set on all volumes, nothing else there, and nothing
// left in the stage.
func (r *rig) requireWhole() {
	r.t.Helper()
	archives := r.archives()
	for i, n := range r.requireTrue("in the end") {
		want := []string{".capstan-owner.json", endName}
		for _, a := range archives {
			want = append(want, a.Name)
		}
		slices.Sort(want)
		if got := listDir(r.t, r.path(r.names[i], "")); !slices.Equal(got, want) || n != len(archives) {
			r.t.Errorf("volume %s has %q with %d of %d archives, want %q", r.names[i], got, n, len(archives), want)
		}
	}
	if left := slices.Concat(listDir(r.t, filepath.Join(r.home, "stage", "final")), listDir(r.t, filepath.Join(r.home, "stage", "temp"))); len(left) > 0 {
		r.t.Errorf("left in the stage: %q", left)
	}
	r.must(r.catalog.SetStatus(r.t.Context(), r.set, capstan.RunComplete, capstan.Counts{}))
	if leases, err := r.catalog.Leases(r.t.Context()); err != nil || len(leases) > 0 {
		r.t.Errorf("leases left: %+v %v", leases, err)
	}
}

func listDir(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// identities tells the archives on the volumes that are there, to see what is
// written a second time.
func (r *rig) identities() map[string]fs.FileInfo {
	r.t.Helper()
	all := map[string]fs.FileInfo{}
	for i, name := range r.names {
		for _, a := range r.archives() {
			if info, err := os.Stat(r.path(name, a.Name)); err == nil && r.state(a.Number, i) == capstan.CopyWritten {
				all[name+"/"+a.Name] = info
			}
		}
	}
	return all
}

func (r *rig) requireUntouched(before map[string]fs.FileInfo, when string) {
	r.t.Helper()
	now := r.identities()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if now[name] == nil || !os.SameFile(now[name], before[name]) || !now[name].ModTime().Equal(before[name].ModTime()) {
			r.t.Errorf("%s: %s was written a second time", when, name)
		}
	}
}
