package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/envelope"
	"capstan/internal/pipeline"
	"capstan/internal/stage"
)

// contents are all files of the volumes.
func (s *safe) contents() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, volume := range s.volumes {
		names, err := filepath.Glob(filepath.Join(volume, "*", "*"))
		s.check(err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			s.check(err)
			all[name] = string(text)
		}
	}
	return all
}

// rotateTo gives a set other recipients, opened with the given keys.
func (s *safe) rotateTo(set capstan.SetID, to *envelope.Recipients, keys ...envelope.Key) error {
	s.t.Helper()
	d := s.open(keys...)
	defer func() { s.check(d.Close()) }()
	_, err := d.Rotation().Rotate(s.t.Context(), set, to)
	return err
}

func recipientsOf(t *testing.T, keys ...envelope.Key) *envelope.Recipients {
	t.Helper()
	var specs []string
	for _, key := range keys {
		specs = append(specs, key.Recipient())
	}
	to, err := envelope.ParseRecipients(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// What cannot be done is refused before anything is changed.
func TestRotationRefused(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 2)
	before := s.contents()
	to := recipientsOf(t, s.new)
	unchanged := func(why string, err, class error) {
		t.Helper()
		if !errors.Is(err, class) {
			t.Errorf("%s: %v", why, err)
		}
		after := s.contents()
		for name, text := range before {
			if after[name] != text {
				t.Errorf("%s: %s was changed", why, name)
			}
		}
	}
	unchanged("a wrong key", s.rotateTo(s.sets[0], to, s.new), capstan.ErrWrongKey)
	unchanged("no key", s.rotateTo(s.sets[0], to), capstan.ErrWrongKey)
	unchanged("no such set", s.rotateTo("2020-01_000001", to, s.old), capstan.ErrNotFound)
	if err := s.rotateTo(s.sets[0], recipientsOf(t, s.old), s.old); err != nil {
		t.Errorf("the recipients that it has: %v", err)
	}
	d := s.open()
	lock, err := d.Catalog.LockJob(t.Context(), "job")
	s.check(err)
	unchanged("its job runs", s.rotateTo(s.sets[0], to, s.old), capstan.ErrLocked)
	s.check(lock.Unlock())
	info, err := d.Catalog.Volumes(t.Context())
	s.check(err)
	lease, err := d.Catalog.Acquire(t.Context(), "volume:"+string(info[0].ID), "another run", time.Minute)
	s.check(err)
	unchanged("another run has a volume", s.rotateTo(s.sets[0], to, s.old), capstan.ErrLocked)
	s.check(lease.Release(t.Context()))
	s.check(d.Close())

	away := s.volumes[1] + " away"
	s.check(os.Rename(s.volumes[1], away))
	if err := s.rotateTo(s.sets[0], to, s.old); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("a volume is not there: %v", err)
	}
	s.check(os.Rename(away, s.volumes[1]))
	unchanged("a volume was not there", capstan.ErrRefused, capstan.ErrRefused)

	fresh, err := Open(t.Context(), Options{Home: filepath.Join(s.dir, "fresh")})
	s.check(err)
	fresh.Engine.Identities = envelope.IdentitiesOf(s.old)
	volume, err := fresh.Existing(s.volumes[0])
	s.check(err)
	_, err = fresh.Engine.Rebuild(t.Context(), volume)
	s.check(err)
	_, err = fresh.Rotation().Rotate(t.Context(), s.sets[0], to)
	unchanged("another home's set", err, capstan.ErrRefused)
	s.check(fresh.Close())
	if got := s.verify(s.old); got != "" {
		t.Errorf("after all of it: %s", got)
	}
}

// While one rotation is open, none to others begins; and sets of one volume can be
// rotated in any order, by keys and by passphrases.
func TestRotationsInAnyOrder(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 1)
	if killed, err := s.rotate(s.sets[1], &mortal{left: 5}); err != nil || !killed {
		t.Fatalf("killed %t, %v", killed, err)
	}
	third, err := envelope.NewKey()
	s.check(err)
	if err := s.rotateTo(s.sets[1], recipientsOf(t, third), s.old); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("two rotations of one set: %v", err)
	}
	s.check(s.rotateTo(s.sets[2], recipientsOf(t, s.new, third), s.old)) // the one before it is half rotated
	s.check(s.rotateTo(s.sets[0], recipientsOf(t, s.new), s.old))
	if got := s.verify(s.old, s.new); strings.Count(got, "\n") > 0 || !strings.Contains(got, "was not finished") {
		t.Errorf("two of three are done, verify names:\n%s", got)
	}
	s.check(s.rotateTo(s.sets[1], recipientsOf(t, s.new), s.old))
	if got := s.verify(s.new); got != "" {
		t.Errorf("all are done, verify names:\n%s", got)
	}
	s.check(s.restores(s.new))

	word := func(text string) *envelope.Recipients {
		to, err := envelope.ParseRecipients(nil, func() (string, error) { return text, nil })
		s.check(err)
		return to
	}
	first := word("correct horse battery")
	s.check(s.rotateTo(s.sets[0], first, s.new))
	d := s.open()
	defer func() { s.check(d.Close()) }()
	d.Engine.Identities = first.Secret()
	runner := d.Rotation()
	m := &mortal{left: 4}
	runner.Open = s.opener(d, m)
	func() {
		defer func() { _ = recover() }()
		_, err = runner.Rotate(t.Context(), s.sets[0], word("another passphrase"))
		t.Errorf("it was not killed: %v", err)
	}()
	runner.Open = s.opener(d, nil)
	if _, err := runner.Rotate(t.Context(), s.sets[0], word("a third passphrase")); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("gone on with another passphrase: %v", err)
	}
	if _, err := runner.Rotate(t.Context(), s.sets[0], word("another passphrase")); err != nil {
		t.Errorf("gone on with the same passphrase: %v", err)
	}
	d.Engine.Identities = word("another passphrase").Secret()
	if summary, err := d.Engine.Verify(t.Context(), pipeline.Verify{Sets: s.sets[:1], ReadData: 100}); err != nil {
		t.Errorf("%v %v", err, summary.Problems)
	}
}

// An archive that somebody else encrypted to the same key opens well, and is not the
// one that was written: it is named, and not made to look like ours.
func TestRotationOfForgedCopy(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 1)
	archives, err := filepath.Glob(filepath.Join(s.volumes[0], string(s.sets[0]), "backup_*"))
	s.check(err)
	var forged bytes.Buffer
	w, err := recipientsOf(t, s.old).Writer(&forged)
	s.check(err)
	_, err = w.Write([]byte("what somebody would like us to have"))
	s.check(err)
	s.check(w.Close())
	s.check(os.WriteFile(archives[0], forged.Bytes(), 0o600))
	if err := s.rotateTo(s.sets[0], recipientsOf(t, s.new), s.old); !errors.Is(err, capstan.ErrIncomplete) {
		t.Errorf("rotation: %v", err)
	}
	if now, err := os.ReadFile(archives[0]); err != nil || !bytes.Equal(now, forged.Bytes()) {
		t.Errorf("the forged archive was rewritten, %v", err)
	}
	if got := s.verify(s.old, s.new); !strings.Contains(got, filepath.Base(archives[0])) {
		t.Errorf("verify names: %s", got)
	}
}

// A copy that is damaged is named and keeps its recipients; the others get theirs.
func TestRotationOfDamagedCopy(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 2)
	archives, err := filepath.Glob(filepath.Join(s.volumes[0], string(s.sets[0]), "backup_*"))
	s.check(err)
	if len(archives) < 2 {
		t.Fatalf("archives %q", archives)
	}
	bad := archives[0]
	text, err := os.ReadFile(bad)
	s.check(err)
	text[len(text)/2] ^= 1
	s.check(os.WriteFile(bad, text, 0o600))
	err = s.rotateTo(s.sets[0], recipientsOf(t, s.new), s.old)
	if !errors.Is(err, capstan.ErrIncomplete) {
		t.Fatalf("rotation: %v", err)
	}
	if now, err := os.ReadFile(bad); err != nil || string(now) != string(text) {
		t.Errorf("the damaged copy was changed, %v", err)
	}
	for problem := range strings.SplitSeq(s.verify(s.old, s.new), "\n") {
		if !strings.Contains(problem, filepath.Base(bad)) && !strings.Contains(problem, "of archive 1: ") {
			t.Errorf("verify names: %s", problem)
		}
	}
	s.check(s.restores(s.old, s.new)) // from the other volume
}

// A set whose rotation is open is brought to no volume: part of it would be of the
// old form there.
func TestRetryWhileRotating(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 2)
	if killed, err := s.rotate(s.sets[0], &mortal{left: 9}); err != nil || !killed {
		t.Fatalf("killed %t, %v", killed, err)
	}
	set := s.sets[0]
	d := s.open()
	defer func() { s.check(d.Close()) }()
	ctx := s.t.Context()
	runs, err := d.Catalog.Runs(ctx, catalog.RunFilter{Set: set})
	s.check(err)
	copies, err := d.Catalog.Copies(ctx, set)
	s.check(err)
	record := func(state capstan.CopyState) {
		s.t.Helper()
		s.check(d.Catalog.SetCopy(ctx, set, copies[0].Number, copies[0].Volume, state, "", d.Engine.Now()))
	}
	record(capstan.CopyMissing) // else there is nothing that it lacks
	_, err = d.Engine.Retry(ctx, pipeline.Retry{
		Run: runs[len(runs)-1].ID, Stage: func(context.Context, capstan.SetID) (*stage.Stage, error) { return nil, nil },
	})
	if !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), "capstan key rewrap") {
		s.t.Errorf("retry of a set whose rotation is open: %v", err)
	}
	record(capstan.CopyWritten)
}

// sneaky runs something when the first archive is opened.
type sneaky struct {
	capstan.Volume
	once *sync.Once
	do   func()
}

func (v sneaky) Open(ctx context.Context, set capstan.SetID, name string) (capstan.VolumeReader, error) {
	if _, _, _, ok := capstan.ParseArchiveName(name); ok {
		v.once.Do(v.do)
	}
	return v.Volume.Open(ctx, set, name)
}

// A set that is rotated while it is verified is not called damaged.
func TestRotationWhileVerified(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 1)
	d := s.open(s.old, s.new)
	defer func() { s.check(d.Close()) }()
	var once sync.Once
	rotated := false
	d.Engine.Open = func(ctx context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
		volume, err := d.reopen(ctx, info)
		return sneaky{volume, &once, func() { //nolint:contextcheck // another process in the meantime
			s.check(s.rotateTo(s.sets[0], recipientsOf(t, s.new), s.old))
			rotated = true
		}}, err
	}
	summary, err := d.Engine.Verify(t.Context(), pipeline.Verify{Sets: s.sets[:1], ReadData: 100})
	if err != nil || !rotated {
		t.Errorf("rotated %t: %v %v", rotated, err, summary.Problems)
	}
	if got := s.verify(s.old, s.new); got != "" {
		t.Errorf("afterwards: %s", got)
	}
}

// A set that was signed while the one before it got other recipients names sums that
// are no more. The catalog knows those that are: nobody is suspected.
func TestRotationWhileSigned(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 1)
	path := filepath.Join(s.volumes[0], string(s.sets[1]), "SHA256SUMS.sig")
	before, err := os.ReadFile(path)
	s.check(err)
	s.check(s.rotateTo(s.sets[0], recipientsOf(t, s.new), s.old))
	after, err := os.ReadFile(path)
	s.check(err)
	if bytes.Equal(before, after) {
		t.Fatal("the set after it was not signed anew")
	}
	s.check(os.WriteFile(path, before, 0o600))
	if got := s.verify(s.old, s.new); got != "" {
		t.Errorf("verify names: %s", got)
	}
}
