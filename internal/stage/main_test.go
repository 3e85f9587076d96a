package stage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"capstan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	setOne  = capstan.SetID("2026-11_000001")
	setTwo  = capstan.SetID("2026-11_000002")
	nameOne = "backup_2026-11_000001_0001.tar.zst"
	nameTwo = "backup_2026-11_000001_0002.tar.zst"
)

// open gives a stage without reserve, closed at the end of the test.
func open(t *testing.T, path string, o Options) *Stage {
	t.Helper()
	if o.Reserve == 0 {
		o.Reserve = -1
	}
	s, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// begin claims the set and creates a file in it.
func begin(t *testing.T, s *Stage, set capstan.SetID, name string, r *Reservation) capstan.VolumeFile {
	t.Helper()
	if err := s.ClaimSet(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	file, err := s.Create(t.Context(), set, name, r)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func write(t *testing.T, file io.Writer, content string) {
	t.Helper()
	if n, err := io.WriteString(file, content); n != len(content) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// seal puts a whole file into final.
func seal(t *testing.T, s *Stage, set capstan.SetID, name, content string) {
	t.Helper()
	file := begin(t, s, set, name, nil)
	write(t, file, content)
	if err := file.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s *Stage, set capstan.SetID, name string) string {
	t.Helper()
	reader, err := s.Open(t.Context(), set, name)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	content, err := io.ReadAll(io.NewSectionReader(reader, 0, reader.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func usage(t *testing.T, s *Stage) Usage {
	t.Helper()
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func reserve(t *testing.T, s *Stage, n capstan.Bytes) *Reservation {
	t.Helper()
	r, err := s.Reserve(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func release(t *testing.T, r *Reservation) {
	t.Helper()
	if err := r.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// tree tells what lies below a directory, names and contents; the ledger, whose
// names are made up, is left out.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		if entry.Name() == ledgerArea {
			return fs.SkipDir
		}
		if strings.HasPrefix(entry.Name(), "."+markerName) {
			return nil // a marker that was not finished
		}
		b.WriteString(strings.TrimPrefix(path, dir))
		if entry.Type().IsRegular() && entry.Name() != markerName {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.WriteString("=" + string(content[:min(len(content), 100)]))
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// waits records what is declared.
type waits struct {
	mu    sync.Mutex
	said  []string
	open  int
	begun chan struct{} // gets one for each wait; not if nil
	then  func()        // called when a wait begins; may be nil
}

func (w *waits) hook(on, detail string) func() {
	w.mu.Lock()
	w.said = append(w.said, on+": "+detail)
	w.open++
	w.mu.Unlock()
	if w.begun != nil {
		w.begun <- struct{}{}
	}
	if w.then != nil {
		w.then()
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open--
	}
}

// all gives what was declared so far, and how many waits are open.
func (w *waits) all() (said []string, open int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.said...), w.open
}

func pattern(n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i * 31 >> 3)
	}
	return string(out)
}

func same(a, b string) bool { return bytes.Equal([]byte(a), []byte(b)) }

// cancelled is a context that has ended, with the cause that it must be answered with.
func cancelled(t *testing.T) (context.Context, error) {
	t.Helper()
	why := errors.New("cancelled by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	return ctx, why
}

func contextWithCause(t *testing.T) (context.Context, context.CancelCauseFunc) {
	t.Helper()
	return context.WithCancelCause(t.Context())
}

// memory is a directory whose syncs cost nothing, for sweeps over very many steps.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "capstan") //nolint:usetesting // this filesystem is what it is about
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
