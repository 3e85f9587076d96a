package stage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
)

func newSpool(t *testing.T, s *Stage) (*Spool, *waits) {
	t.Helper()
	w := &waits{begun: make(chan struct{}, 10)}
	p, err := s.NewSpool(t.Context(), func(detail string) func() { return w.hook("space", detail) })
	if err != nil {
		t.Fatal(err)
	}
	return p, w
}

func take(t *testing.T, p *Spool, n capstan.Bytes, want bool) {
	t.Helper()
	if ok, err := p.Take(t.Context(), n); ok != want || err != nil {
		t.Fatalf("take %s: %v, %v", n, ok, err)
	}
}

// A spool has half of the stage, counts in its quota, and leaves nothing.
func TestSpool(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := open(t, path, Options{Quota: 1000, Reserve: -1})
	p, _ := newSpool(t, s)
	if p.Room() != 500 || s.SpoolRoom() != 500 {
		t.Fatalf("room for %s", p.Room())
	}
	take(t, p, 300, true)
	take(t, p, 201, false)
	put(t, filepath.Join(p.Dir(), "1.dat"), strings.Repeat("x", 300))
	if err := os.MkdirAll(filepath.Join(p.Dir(), "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if u := usage(t, s); u.Held < 300 || u.Used != u.Held || u.Free > 700 {
		t.Errorf("%+v", u)
	}
	p.Give(300)
	take(t, p, 500, true)
	if u := usage(t, s); u.Held != 500 || u.Free != 500 {
		t.Errorf("%+v", u)
	}
	reserve(t, s, 500) // the rest is for archives
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there: %v", p.Dir(), err)
	}
	if u := usage(t, s); u.Held != 500 {
		t.Errorf("%+v", u)
	}
}

// What is written of a spool's room is not asked of the file system a second time.
func TestSpoolIsCountedOnce(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: capstan.MiB, Reserve: -1})
	p, _ := newSpool(t, s)
	take(t, p, 100, true)
	var unwritten capstan.Bytes
	look := func() {
		if err := s.transact(t.Context(), func(l *ledger) error {
			v, err := l.survey()
			unwritten = v.unwritten
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	if granted := usage(t, s).Held; unwritten != granted-100 {
		t.Errorf("%s of %s are to be written", unwritten, granted)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Archives that fill the stage hold a spool up until a volume has taken one. An archive
// that could only grow if the spool gave way fails: the spool keeps what it has.
func TestSpoolAndArchivesShareTheStage(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Quota: 1000, Reserve: -1})
	if err := s.ClaimSet(t.Context(), setOne); err != nil {
		t.Fatal(err)
	}
	seal(t, s, setOne, nameOne, strings.Repeat("x", 800))
	p, w := newSpool(t, s)
	took := make(chan error, 1)
	go func() {
		ok, err := p.Take(t.Context(), 400)
		if err == nil && !ok {
			err = errors.New("no room")
		}
		took <- err
	}()
	select {
	case err := <-took:
		t.Fatalf("it did not wait: %v", err)
	case <-w.begun:
	}
	if err := s.Remove(t.Context(), setOne, nameOne); err != nil {
		t.Fatal(err)
	}
	if err := <-took; err != nil {
		t.Fatal(err)
	}
	file := begin(t, s, setOne, nameTwo, nil)
	write(t, file, strings.Repeat("x", 500))
	if _, err := file.Write(make([]byte, 101)); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("it grew into the spool: %v", err)
	}
	if err := errors.Join(file.Abort(), p.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// The spool of a dead owner is removed by whoever opens the stage next; that of a living
// one is left alone.
func TestSpoolOfTheDead(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s, err := Open(t.Context(), path, Options{Quota: 1000, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	p, _ := newSpool(t, s)
	put(t, filepath.Join(p.Dir(), "1.dat"), "x")
	other := open(t, path, Options{Quota: 1000, Reserve: -1})
	if _, err := os.Stat(filepath.Join(p.Dir(), "1.dat")); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.owner.die(); err != nil { // as a kill ends it
		t.Fatal(err)
	}
	open(t, path, Options{Quota: 1000, Reserve: -1})
	if _, err := os.Stat(p.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there: %v", p.Dir(), err)
	}
}
