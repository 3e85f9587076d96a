package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/envelope"
	"capstan/internal/pipeline"
)

// errKilled is what a killed process panics with.
var errKilled = errors.New("killed")

// mortal ends the process before, or right after, its n-th step that changes a volume.
type mortal struct{ left int }

func (m *mortal) step() {
	if m.left--; m.left == 0 {
		panic(errKilled)
	}
}

type mortalVolume struct {
	capstan.Volume
	m *mortal
}

func (v mortalVolume) Replace(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeFile, error) {
	v.m.step()
	replacer, ok := v.Volume.(capstan.Replacer)
	if !ok {
		return nil, errors.New("it cannot replace files")
	}
	file, err := replacer.Replace(ctx, set, name)
	return mortalFile{file, v.m}, err
}

type mortalFile struct {
	capstan.VolumeFile
	m *mortal
}

func (f mortalFile) Commit(ctx context.Context) error {
	f.m.step()
	err := f.VolumeFile.Commit(ctx)
	f.m.step()
	return err
}

// safe is a home with two encrypted sets, the second built on the first, and a third
// of another job, all on one volume, or the same on two.
type safe struct {
	t        *testing.T
	dir      string
	old, new envelope.Key
	sets     []capstan.SetID
	volumes  []string
}

func (s *safe) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *safe) open(keys ...envelope.Key) *Daemon {
	s.t.Helper()
	d, err := Open(s.t.Context(), Options{Home: filepath.Join(s.dir, "home")})
	s.check(err)
	d.Engine.Identities = envelope.IdentitiesOf(keys...)
	return d
}

func newSafe(t *testing.T, copies int) *safe {
	t.Helper()
	s := &safe{t: t, dir: t.TempDir()}
	var err error
	s.old, err = envelope.NewKey()
	s.check(err)
	s.new, err = envelope.NewKey()
	s.check(err)
	to, err := envelope.ParseRecipients([]string{s.old.Recipient()}, nil)
	s.check(err)
	d := s.open()
	ctx := t.Context()
	first := filepath.Join(s.dir, "vol0")
	for i, job := range []capstan.JobKey{"job", "job", "another"} {
		data := filepath.Join(s.dir, "data", string(job))
		s.check(os.MkdirAll(data, 0o700))
		noise := make([]byte, 700<<10)
		for n := range 3 {
			_, _ = rand.NewChaCha8([32]byte{byte(i), byte(n)}).Read(noise) // never fails
			s.check(os.WriteFile(filepath.Join(data, fmt.Sprintf("f%d-%d", i, n)), noise, 0o600))
		}
		if i == 1 {
			s.check(os.Remove(filepath.Join(data, "f0-0")))
		}
		volumes, err := d.Volumes(ctx, []string{first})
		s.check(err)
		sources, err := d.Sources([]string{data}, []string{first}, SourceOptions{})
		s.check(err)
		summary, err := d.Engine.Backup(ctx, pipeline.Backup{
			Job: job, Sources: sources, Volumes: volumes, Codec: capstan.CodecZstd, Level: 1, ArchiveSize: capstan.MiB,
			Mode: pipeline.Incremental, Recipients: to,
		})
		s.check(err)
		s.sets = append(s.sets, summary.Set)
	}
	s.volumes = []string{first}
	if copies > 1 {
		s.twin(d)
	}
	s.check(d.Close())
	return s
}

// twin makes a second volume that holds the same.
func (s *safe) twin(d *Daemon) {
	s.t.Helper()
	second := filepath.Join(s.dir, "vol1")
	s.check(os.CopyFS(second, os.DirFS(s.volumes[0])))
	marker := filepath.Join(second, "capstan-volume.json")
	text, err := os.ReadFile(marker)
	s.check(err)
	at := bytes.Index(text, []byte(`"id": "`)) + len(`"id": "`)
	copy(text[at:], "00000000")
	s.check(os.WriteFile(marker, text, 0o600))
	volume, err := d.Existing(second)
	s.check(err)
	d.Engine.Identities = envelope.IdentitiesOf(s.old)
	_, err = d.Engine.Rebuild(s.t.Context(), volume)
	s.check(err)
	s.volumes = append(s.volumes, second)
}

// clone is a copy of all of it, to be spoilt.
func (s *safe) clone(t *testing.T) *safe {
	t.Helper()
	other := *s
	other.t, other.dir = t, t.TempDir()
	s.check(os.CopyFS(other.dir, os.DirFS(s.dir))) // without modes
	s.check(os.Chmod(filepath.Join(other.dir, "home", "signing-key.pem"), 0o600))
	return &other
}

// opener opens volumes where the clone has them.
func (s *safe) opener(d *Daemon, m *mortal) func(context.Context, capstan.VolumeInfo) (capstan.Volume, error) {
	return func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
		info.Location = filepath.Join(s.dir, filepath.Base(info.Location))
		volume, err := d.reopen(ctx, info)
		if m == nil {
			return volume, err
		}
		return mortalVolume{volume, m}, err
	}
}

// rotate gives the set the new key; it reports whether the process was killed.
func (s *safe) rotate(set capstan.SetID, m *mortal) (killed bool, err error) {
	s.t.Helper()
	d := s.open(s.old)
	defer func() {
		if problem := recover(); problem != nil {
			if problem != any(errKilled) {
				panic(problem)
			}
			killed = true
		}
		s.check(d.Close())
	}()
	to, err := envelope.ParseRecipients([]string{s.new.Recipient()}, nil)
	s.check(err)
	runner := d.Rotation()
	runner.Open = s.opener(d, m)
	_, err = runner.Rotate(s.t.Context(), set, to)
	return false, err
}

// verify reads all back with the keys and gives what is wrong.
func (s *safe) verify(keys ...envelope.Key) string {
	s.t.Helper()
	d := s.open(keys...)
	defer func() { s.check(d.Close()) }()
	d.Engine.Open = s.opener(d, nil)
	summary, err := d.Engine.Verify(s.t.Context(), pipeline.Verify{Sets: s.sets, ReadData: 100})
	if err != nil && summary.Failed == 0 {
		return err.Error()
	}
	var all []string
	for _, p := range summary.Problems {
		all = append(all, p.Object+": "+p.Reason)
	}
	return strings.Join(all, "\n")
}

// restores restores the newest set of the chain and compares it.
func (s *safe) restores(keys ...envelope.Key) error {
	s.t.Helper()
	d := s.open(keys...)
	defer func() { s.check(d.Close()) }()
	d.Engine.Open = s.opener(d, nil)
	back := s.t.TempDir()
	if _, err := d.Engine.Restore(s.t.Context(), pipeline.Restore{Set: s.sets[1], Target: back}); err != nil {
		return err
	}
	got := filepath.Join(back, "job")
	names, err := filepath.Glob(filepath.Join(s.dir, "data", "job", "*"))
	s.check(err)
	for _, name := range names {
		was, err := os.ReadFile(name)
		s.check(err)
		is, err := os.ReadFile(filepath.Join(got, filepath.Base(name)))
		if err != nil || !bytes.Equal(was, is) {
			return fmt.Errorf("%s: %w", name, errors.Join(err, errors.New("it is not what it was")))
		}
	}
	there, err := filepath.Glob(filepath.Join(got, "*"))
	s.check(err)
	if len(there) != len(names) {
		return fmt.Errorf("%d files came back, want %d", len(there), len(names))
	}
	return nil
}

// TestRotationKilledAnywhere kills a rotation before and after every step: the set
// opens with both keys, no copy is called damaged, all that verify names is the
// unfinished rotation; and the next call, with the old key alone, finishes it.
func TestRotationKilledAnywhere(t *testing.T) {
	t.Parallel()
	for _, volumes := range []int{1, 2} {
		t.Run(fmt.Sprint(volumes), func(t *testing.T) {
			t.Parallel()
			whole := newSafe(t, volumes)
			if got := whole.verify(whole.old); got != "" {
				t.Fatalf("before anything: %s", got)
			}
			for n := 1; ; n += 3*volumes - 1 { // every second step, with two volumes every fifth
				s := whole.clone(t)
				killed, err := s.rotate(s.sets[0], &mortal{left: n})
				s.check(err)
				if !killed {
					if n < 20 {
						t.Fatalf("a rotation has %d steps", n)
					}
					break
				}
				if got := s.verify(s.old, s.new); got != "" && (strings.Count(got, "\n") >= volumes || !strings.Contains(got, "was not finished")) {
					t.Errorf("killed at step %d, verify names:\n%s", n, got)
				}
				if err := s.restores(s.old, s.new); err != nil {
					t.Errorf("killed at step %d: %v", n, err)
				}
				if killed, err := s.rotate(s.sets[0], nil); err != nil || killed {
					t.Errorf("killed at step %d, the next call: %v", n, err)
				}
				s.rotated(fmt.Sprintf("killed at step %d and finished", n))
				os.RemoveAll(s.dir)
			}
		})
	}
}

// rotated checks that the first set has the new key alone.
func (s *safe) rotated(when string) {
	s.t.Helper()
	if got := s.verify(s.old, s.new); got != "" {
		s.t.Errorf("%s: verify names:\n%s", when, got)
	}
	if err := s.restores(s.old, s.new); err != nil {
		s.t.Errorf("%s: %v", when, err)
	}
	if err := s.restores(s.old); !errors.Is(err, capstan.ErrWrongKey) {
		s.t.Errorf("%s: the old key still does: %v", when, err)
	}
	for _, volume := range s.volumes {
		dir := filepath.Join(s.dir, filepath.Base(volume), string(s.sets[0]))
		left, err := filepath.Glob(filepath.Join(dir, "*.part"))
		s.check(err)
		if len(left) > 0 {
			s.t.Errorf("%s: left behind: %q", when, left)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.age"))
		s.check(err)
		for _, name := range files {
			file, err := os.Open(name)
			s.check(err)
			info, err := file.Stat()
			s.check(err)
			if _, err := envelope.IdentitiesOf(s.new).OpenAt(file, info.Size()); err != nil {
				s.t.Errorf("%s: %s does not open with the new key: %v", when, name, err)
			}
			s.check(file.Close())
		}
	}
	// Whoever has the volume and the new key alone knows the set, its successor, and
	// that they belong together.
	fresh, err := Open(s.t.Context(), Options{Home: filepath.Join(s.t.TempDir(), "fresh")})
	s.check(err)
	fresh.Engine.Identities = envelope.IdentitiesOf(s.new, s.old)
	volume, err := fresh.Existing(filepath.Join(s.dir, "vol0"))
	s.check(err)
	sets, err := fresh.Engine.Rebuild(s.t.Context(), volume)
	if err != nil || len(sets) != len(s.sets) {
		s.t.Errorf("%s: a rebuild finds %d sets, %v", when, len(sets), err)
	}
	summary, err := fresh.Engine.Verify(s.t.Context(), pipeline.Verify{Sets: sets, ReadData: 100})
	if err != nil {
		s.t.Errorf("%s: verify after a rebuild: %v %v", when, err, summary.Problems)
	}
	set, err := fresh.Catalog.Set(s.t.Context(), s.sets[0])
	if err != nil || len(set.Recipients) != 1 || set.Recipients[0] != s.new.Recipient() {
		s.t.Errorf("%s: the manifest says %q, %v", when, set.Recipients, err)
	}
	s.check(fresh.Close())
}
