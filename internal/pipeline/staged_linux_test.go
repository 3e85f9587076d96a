package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/copier"
	"capstan/internal/disk"
	"capstan/internal/manifest"
	"capstan/internal/progress"
	"capstan/internal/source/files"
	"capstan/internal/stage"
	"capstan/internal/volume/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a home with a source and volumes; each process opens it anew.
type site struct {
	dir    string
	mu     sync.Mutex
	faults map[string]disk.FaultFunc // by volume
}

func newSite(t *testing.T) *site {
	t.Helper()
	home, err := os.MkdirTemp("/dev/shm", "capstan") //nolint:usetesting // syncs cost nothing there
	if err != nil {
		home = t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	s := &site{dir: home, faults: map[string]disk.FaultFunc{}}
	random := rand.NewChaCha8([32]byte{7})
	if err := os.Mkdir(filepath.Join(s.dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 5 { // each has an archive
		data := make([]byte, 900<<10+i)
		_, _ = random.Read(data)
		if err := os.WriteFile(filepath.Join(s.dir, "data", fmt.Sprint("file", i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *site) fault(volume string, fault disk.FaultFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[volume] = fault
}

func (s *site) volume(name string, known capstan.VolumeID, key *manifest.Key) (*dir.Volume, error) {
	return dir.Open(filepath.Join(s.dir, name), dir.Options{
		Create: known == "", Known: known, Catalog: key.ID(), Reserve: -1,
		FS: disk.FS{Faults: disk.FaultFunc(func(op disk.Op, path string, n int) error {
			s.mu.Lock()
			fault := s.faults[name]
			s.mu.Unlock()
			if fault == nil {
				return nil
			}
			return fault(op, path, n)
		})},
	})
}

// proc is one process that works on a site.
type proc struct {
	*Engine
	site  *site
	t     *testing.T
	stage *stage.Stage
	mu    sync.Mutex
	said  []string
}

func (s *site) process(t *testing.T) *proc {
	t.Helper()
	p := &proc{site: s, t: t}
	records, err := catalog.Open(t.Context(), filepath.Join(s.dir, "catalog.db"), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end()
	})
	key, err := manifest.LoadOrCreateKey(filepath.Join(s.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	say := func(format string, args ...any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.said = append(p.said, fmt.Sprintf(format, args...))
	}
	p.Engine = &Engine{
		Catalog: records, Tracker: progress.New(nil), Key: key, Host: "test", Now: time.Now, Say: say, Warn: say, Memory: 16 * capstan.MiB,
		Open: func(_ context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
			return s.volume(filepath.Base(info.Location), info.ID, key)
		},
		Copier: copier.Options{Attempts: 2, Backoff: time.Millisecond, MaxBackoff: time.Millisecond, Grace: 5 * time.Second},
	}
	return p
}

// end ends the process.
func (p *proc) end() {
	if p.stage != nil {
		if err := p.stage.Close(); err != nil {
			p.t.Error(err)
		}
	}
	p.stage = nil
	if err := p.Catalog.Close(); err != nil {
		p.t.Error(err)
	}
}

func (p *proc) openStage() {
	p.t.Helper()
	s, err := p.OpenStage(p.t.Context(), p.stageDir(), capstan.GiB)
	if err != nil {
		p.t.Fatal(err)
	}
	p.stage = s
}

func (p *proc) stageDir() string { return filepath.Join(p.site.dir, "stage") }

func (p *proc) requireSaid(words string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(strings.Join(p.said, "\n"), words) {
		p.t.Errorf("nobody was told %q, but %q", words, p.said)
	}
}

// backup runs the job onto volumes, through the stage.
func (p *proc) backup(ctx context.Context, volumes ...string) (Summary, error) {
	p.t.Helper()
	if p.stage == nil {
		p.openStage() //nolint:contextcheck // the stage outlives a run that is interrupted
	}
	source, err := files.New(filepath.Join(p.site.dir, "data"), files.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	job := Backup{Job: "job", JobName: "job", Sources: []capstan.Source{source}, Codec: capstan.CodecZstd, Level: 1, ArchiveSize: capstan.MiB, Stage: p.stage}
	for _, name := range volumes {
		v, err := p.site.volume(name, "", p.Key)
		if err != nil {
			p.t.Fatal(err)
		}
		job.Volumes = append(job.Volumes, copier.Volume{Info: v.Info(), Opened: v})
	}
	return p.Backup(ctx, job)
}

// written counts the archives of the set on a volume, and those in the catalog.
func (p *proc) written(set capstan.SetID, volume string) (n, of int) {
	p.t.Helper()
	archives, err := p.Catalog.Archives(p.t.Context(), set)
	if err != nil {
		p.t.Fatal(err)
	}
	copies, err := p.Catalog.Copies(p.t.Context(), set)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range copies {
		info, err := p.Catalog.Volume(p.t.Context(), c.Volume)
		if err != nil {
			p.t.Fatal(err)
		}
		if filepath.Base(info.Location) == volume && c.State == capstan.CopyWritten {
			n++
		}
	}
	return n, len(archives)
}

func (p *proc) staged(set capstan.SetID) (n int) {
	p.t.Helper()
	found, err := os.ReadDir(filepath.Join(p.stageDir(), "final", string(set)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	return len(found)
}

// requireWhole wants the set whole on each volume, by a verification of every byte
// and by a restore from that volume alone, and nothing in the stage.
func (p *proc) requireWhole(set capstan.SetID, volumes ...string) {
	p.t.Helper()
	ctx := p.t.Context()
	found, err := p.Catalog.Set(ctx, set)
	if err != nil || found.Status != capstan.RunComplete {
		p.t.Errorf("the set is %s, %v", found.Status, err)
	}
	if n := p.staged(set); n > 0 {
		p.t.Errorf("%d archives are left in the stage", n)
	}
	for _, name := range volumes {
		if n, of := p.written(set, name); n != of || of < 4 {
			p.t.Errorf("%s has %d of %d archives", name, n, of)
		}
	}
	if summary, err := p.Verify(ctx, Verify{Sets: []capstan.SetID{set}, ReadData: 100}); err != nil || summary.Failed > 0 {
		p.t.Errorf("verify: %+v, %v", summary, err)
	}
	for _, name := range volumes {
		p.site.only(name, volumes)
		target := p.t.TempDir()
		if _, err := p.Restore(ctx, Restore{Set: set, Target: target}); err != nil {
			p.t.Errorf("restore from %s: %v", name, err)
			continue
		}
		for i := range 5 {
			file := fmt.Sprint("data/file", i)
			want, err := os.ReadFile(filepath.Join(p.site.dir, file))
			if err != nil {
				p.t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(target, file)); err != nil || string(got) != string(want) {
				p.t.Errorf("%s from %s is another: %v", file, name, err)
			}
		}
	}
	p.site.only("", volumes)
}

// only makes all volumes but one unreadable; none, if it is empty.
func (s *site) only(readable string, volumes []string) {
	for _, name := range volumes {
		var fault disk.FaultFunc
		if readable != "" && name != readable {
			fault = func(disk.Op, string, int) error { return syscall.EIO }
		}
		s.fault(name, fault)
	}
}

// interrupt runs a backup that packs all, brings so many archives to each volume, and
// is then interrupted.
func (s *site) interrupt(t *testing.T, allow map[string]int, volumes ...string) (set capstan.SetID) {
	t.Helper()
	p := s.process(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	free := make(chan struct{})
	var held atomic.Int64 // writes that wait for the interruption
	holds := int64(0)
	for _, name := range volumes {
		if allow[name] < 5 {
			holds++
		}
		begun := map[string]bool{}
		s.fault(name, func(op disk.Op, path string, _ int) error {
			if op != disk.OpWrite || !strings.Contains(path, "backup_") {
				return nil
			}
			if begun[path] = true; len(begun) > allow[name] {
				held.Add(1)
				<-free
			}
			return nil
		})
	}
	type end struct {
		summary Summary
		err     error
	}
	ended := make(chan end, 1)
	go func() {
		summary, err := p.backup(ctx, volumes...)
		ended <- end{summary, err}
	}()
	until(t, "all is packed, and what may be written is", func() bool {
		sets, err := p.Catalog.OpenSets(t.Context(), "job")
		if err != nil || len(sets) == 0 {
			return false
		}
		set = sets[0].ID
		if held.Load() < holds {
			return false
		}
		for _, name := range volumes {
			if n, of := p.written(set, name); of < 5 || n != allow[name] {
				return false
			}
		}
		return true
	})
	cancel(&capstan.Error{Class: capstan.ErrInterrupted, Op: "run", Err: errors.New("by the test")})
	close(free)
	if e := <-ended; !errors.Is(e.err, capstan.ErrInterrupted) || e.summary.Status != capstan.RunInterrupted || e.summary.Set != set {
		t.Fatalf("%+v, %v", e.summary, e.err)
	}
	for _, name := range volumes {
		s.fault(name, nil)
	}
	p.end()
	return set
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// A set whose archives lie in the stage only, on one volume, or on both, is resumed.
func TestResumeFromTheStage(t *testing.T) {
	t.Parallel()
	for name, allow := range map[string]map[string]int{
		"in the stage": {"a": 0, "b": 0}, "one on one volume": {"a": 1, "b": 0}, "all on one volume": {"a": 5, "b": 0}, "some on both": {"a": 2, "b": 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			set := s.interrupt(t, allow, "a", "b")
			p := s.process(t)
			summary, err := p.backup(t.Context(), "a", "b")
			if err != nil || !summary.Resumed || summary.Set != set || summary.Status != capstan.RunComplete {
				t.Fatalf("%+v, %v", summary, err)
			}
			p.requireSaid("5 sealed archives kept, 0 unfinished")
			for i, name := range []string{"a", "b"} {
				if o := summary.Volumes[i]; o.Archives > 5-allow[name] {
					t.Errorf("%s got %d archives, and had %d", name, o.Archives, allow[name])
				}
			}
			p.requireWhole(set, "a", "b")
		})
	}
}

// The volumes of the job change between its runs, and change back.
func TestResumeOnOtherVolumes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	set := s.interrupt(t, map[string]int{"a": 1}, "a", "b")
	if again := s.interrupt(t, nil, "c"); again != set {
		t.Fatalf("another set: %s", again)
	}
	p := s.process(t)
	summary, err := p.backup(t.Context(), "a", "b")
	if err != nil || summary.Set != set {
		t.Fatalf("%+v, %v", summary, err)
	}
	p.requireWhole(set, "a", "b")
	demands, err := p.Catalog.Demands(t.Context(), set)
	if err != nil || len(demands) != 3 {
		t.Errorf("%+v %v", demands, err)
	}
	if n, _ := p.written(set, "c"); n != 0 {
		t.Errorf("%d archives on a volume that the job has no more", n)
	}
	p.end()

	s = newSite(t)
	set = s.interrupt(t, nil, "a", "b")
	p = s.process(t)
	if summary, err := p.backup(t.Context(), "c"); err != nil || summary.Set != set {
		t.Fatalf("%+v, %v", summary, err)
	}
	p.requireWhole(set, "c")
}

// A stage that is lost is not made anew while something waits in it.
func TestLostStage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	set := s.interrupt(t, map[string]int{"a": 5}, "a", "b")
	p := s.process(t)
	if err := os.Rename(p.stageDir(), p.stageDir()+".away"); err != nil {
		t.Fatal(err)
	}
	if opened, err := p.OpenStage(t.Context(), p.stageDir(), 0); !errors.Is(err, capstan.ErrRefused) {
		t.Fatalf("%v, %v", opened, err)
	}
	if _, err := os.Stat(p.stageDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made all the same: %v", err)
	}
	if err := os.Rename(p.stageDir()+".away", p.stageDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.backup(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	p.requireWhole(set, "a", "b")
	id := p.stage.ID()
	p.end()
	if err := os.RemoveAll(p.stageDir()); err != nil { // nothing is in it
		t.Fatal(err)
	}
	p = s.process(t)
	p.openStage()
	if p.stage.ID() == id {
		t.Error("it is the same stage")
	}
	if known, wanted, err := p.Catalog.StageAt(t.Context(), p.stageDir()); err != nil || known != p.stage.ID() || wanted {
		t.Errorf("%s %t %v", known, wanted, err)
	}
}

// What lies in the stage is judged by the catalog when it is opened.
func TestOrphansInTheStage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	set := s.interrupt(t, map[string]int{"a": 1}, "a", "b")
	p := s.process(t)
	final := func(set capstan.SetID, name string) string {
		return filepath.Join(p.stageDir(), "final", string(set), name)
	}
	archives, err := p.Catalog.Archives(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	put := func(set capstan.SetID, name string) {
		path := final(set, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("bytes"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	unsealed := capstan.ArchiveName(set, 77, capstan.CodecZstd)
	put(set, unsealed)
	put(set, "manifest.json")
	put(set, archives[2].Name) // of another size
	put("2025-01_000009", "backup_2025-01_000009_0001.tar.zst")
	// One that both have: the run was killed before it was removed.
	for _, on := range []string{"a", "b"} {
		v, err := s.volume(on, "", p.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Catalog.SetCopy(t.Context(), set, archives[0].Number, v.Info().ID, capstan.CopyWritten, "", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	p.openStage()
	p.requireSaid("1 archives that all their volumes have removed")
	p.requireSaid("orphans")
	left, err := p.stage.List(t.Context(), set)
	var names []string
	for _, file := range left {
		names = append(names, file.Name)
	}
	if want := []string{archives[1].Name, archives[3].Name, archives[4].Name}; err != nil || !slices.Equal(names, want) {
		t.Errorf("left %q, want %q: %v", names, want, err)
	}
	for path, aside := range map[string]bool{
		string(set) + "/" + unsealed: false, string(set) + "/manifest.json": true, string(set) + "/" + archives[2].Name: true,
		"2025-01_000009/backup_2025-01_000009_0001.tar.zst": true,
	} {
		_, err := os.Stat(filepath.Join(p.stageDir(), "orphans", path))
		if aside != (err == nil) {
			t.Errorf("%s set aside %t, want %t", path, err == nil, aside)
		}
	}
	// The job packs again what is lost so: archive 3, and archive 1 of volume b, which has no file of it.
	if _, err := p.backup(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	p.requireWhole(set, "a", "b")
}
