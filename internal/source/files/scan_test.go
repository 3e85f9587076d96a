package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"capstan"
)

// discard takes batches and lets go of what they hold.
func discard(_ context.Context, b capstan.Batch) error {
	for i := range b.Items {
		if content := b.Items[i].Content; content != nil {
			if err := content.Close(); err != nil {
				return err
			}
		}
	}
	if b.Release != nil {
		b.Release()
	}
	return nil
}

func manyFiles(t *testing.T, dirs, files, size int) string {
	t.Helper()
	root := tree(t, nil)
	content := []byte(strings.Repeat("c", size))
	for d := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("%04d", d))
		must(t, os.Mkdir(dir, 0o755))
		for f := range files {
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", f)), content, 0o644))
		}
	}
	return root
}

func TestEmitFails(t *testing.T) {
	t.Parallel()
	root := manyFiles(t, 20, 100, 100)
	write(t, filepath.Join(root, "0000/large"), strings.Repeat("l", smallContent*2))
	for after := range 4 {
		calls := 0
		err := open(t, root, Options{}).Scan(t.Context(), nil, func(ctx context.Context, b capstan.Batch) error {
			if calls++; calls > after {
				return errors.Join(errTest, discard(ctx, b))
			}
			return discard(ctx, b)
		})
		if !errors.Is(err, errTest) || calls != after+1 {
			t.Errorf("after %d: %v, %d calls", after, err, calls)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	root := manyFiles(t, 30, 100, 100)
	for after := range 5 {
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := 0
		err := open(t, root, Options{}).Scan(ctx, nil, func(ctx context.Context, b capstan.Batch) error {
			if calls++; calls > after {
				cancel(errTest)
				<-ctx.Done() // as a stage that is busy
				return errors.Join(context.Cause(ctx), discard(ctx, b))
			}
			return discard(ctx, b)
		})
		if !errors.Is(err, errTest) {
			t.Errorf("after %d: %v", after, err)
		}
		cancel(nil)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errTest)
	err := open(t, root, Options{}).Scan(ctx, nil, discard)
	if !errors.Is(err, errTest) {
		t.Errorf("cancelled before: %v", err)
	}
}

// A source that is gone by the time of the scan is an error, not an empty tree.
func TestSourceGone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "file"} {
		root := tree(t, map[string]string{"file": ""})
		s := open(t, filepath.Join(root, name), Options{})
		must(t, os.RemoveAll(root))
		err := s.Scan(t.Context(), nil, discard)
		var told *capstan.Error
		if !errors.As(err, &told) || told.Object != filepath.Join(root, name) || !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
}

// Whoever cannot cancel its own work is left behind; Scan returns all the same.
func TestCancelWhileBaselineHangs(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"a/b": ""})
	baseline := keep(collect(t, open(t, root, Options{}), nil))
	hang, hanging := make(chan struct{}), make(chan struct{})
	baseline.hook = func(path string) error {
		if path == "data/a" {
			close(hanging)
			<-hang
		}
		return nil
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	s := open(t, root, Options{})
	over := make(chan error, 1)
	go func() { over <- s.Scan(ctx, baseline, discard) }()
	<-hanging
	if host, since := s.Busy(); host != root || time.Since(since) > time.Minute {
		t.Errorf("busy with %q since %s", host, since)
	}
	cancel(errTest)
	select {
	case err := <-over:
		if !errors.Is(err, errTest) {
			t.Error(err)
		}
	case <-time.After(stuckGrace + 5*time.Second):
		t.Error("Scan hangs")
	}
	close(hang)
}

// What is read ahead while emit is busy stays within Options.Memory.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const memory = 4 << 20
	root := manyFiles(t, 20, 60, 30000) // 36 MB
	var read atomic.Int64
	progress := make(chan struct{}, 1)
	s := open(t, root, Options{Memory: memory, Hooks: Hooks{Bytes: func(n int) {
		read.Add(int64(n))
		select {
		case progress <- struct{}{}:
		default:
		}
	}}})
	emitted := int64(0)
	err := s.Scan(t.Context(), nil, func(ctx context.Context, b capstan.Batch) error {
		for i := range b.Items {
			emitted += int64(len(b.Items[i].Data))
		}
		for quiet := false; !quiet && emitted < 4<<20; { // until the readers have stopped
			select {
			case <-progress:
			case <-time.After(100 * time.Millisecond):
				quiet = true
			}
		}
		// The chunk that is being emitted has left the budget only in part.
		if ahead := read.Load() - emitted; ahead > memory+chunkItems*smallContent {
			t.Errorf("%d bytes read ahead", ahead)
		}
		return discard(ctx, b)
	})
	must(t, err)
	if read.Load() != 20*60*30000 {
		t.Errorf("%d bytes read", read.Load())
	}
}

// A consumer that holds every batch until the end stops nothing.
func TestConsumerHoldsEverything(t *testing.T) {
	t.Parallel()
	root := manyFiles(t, 10, 100, 20000)
	var held []capstan.Batch
	err := open(t, root, Options{Memory: capstan.MiB}).Scan(t.Context(), nil, func(_ context.Context, b capstan.Batch) error {
		held = append(held, b)
		return nil
	})
	must(t, err)
	entries := 0
	for _, b := range held {
		entries += len(consume(t, b))
	}
	if entries != 1+10+1000 {
		t.Errorf("%d entries", entries)
	}
}

// inMemory gives a directory where files are made fast.
func inMemory(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "capstan") //nolint:usetesting // this filesystem is what it is about
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(root)) })
	return root
}

func TestLargeDirectory(t *testing.T) {
	t.Parallel()
	const files = 100_000
	root := inMemory(t)
	for i := range files {
		f, err := os.OpenFile(fmt.Sprintf("%s/%d", root, i), os.O_CREATE|os.O_WRONLY, 0o600)
		must(t, err)
		must(t, f.Close())
	}
	var found, waits atomic.Int64
	batches := 0
	previous, entries := "", 0
	s := open(t, root, Options{Hooks: Hooks{
		Entries: func(n int) { found.Add(int64(n)) },
		Waiting: func(waiting bool) {
			if waiting {
				waits.Add(1)
			} else {
				waits.Add(-1)
			}
		},
	}})
	err := s.Scan(t.Context(), nil, func(ctx context.Context, b capstan.Batch) error {
		batches++
		if waits.Load() != 0 {
			t.Error("emit is called while the scan says that it waits")
		}
		for i := range b.Items {
			path := b.Items[i].Entry.Path
			if entries > 0 && capstan.ComparePaths(previous, path) >= 0 {
				t.Fatalf("%q comes before %q", previous, path)
			}
			previous = path
			entries++
		}
		return discard(ctx, b)
	})
	must(t, err)
	if entries != files+1 || found.Load() != files+1 || batches > files/batchReady {
		t.Errorf("%d entries in %d batches, %d found", entries, batches, found.Load())
	}
	if host, _ := s.Busy(); host != "" {
		t.Errorf("still busy with %q", host)
	}
}

// BenchmarkScan reads a warm tree of small files: entries a second are what
// matters.
func BenchmarkScan(b *testing.B) {
	const dirs, files = 50, 40
	root := b.TempDir()
	content := []byte(strings.Repeat("c", 5000))
	for d := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("%04d", d))
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", f)), content, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		s, err := New(root, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Scan(b.Context(), nil, discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*(1+dirs+dirs*files))/b.Elapsed().Seconds(), "entries/s")
}
