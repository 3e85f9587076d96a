package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"capstan"
	"capstan/internal/disk"
)

// A run is interrupted while a volume does not answer to its claim, which comes
// through when the run is over: the next run takes the set over, and nothing is left
// that is nobody's.
func TestLateClaim(t *testing.T) {
	t.Parallel()
	for _, op := range []disk.Op{disk.OpMkdir, disk.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := s.process(t)
			asked, free := make(chan struct{}), make(chan struct{})
			var once sync.Once
			s.fault("b", func(at disk.Op, path string, _ int) error {
				if at == op && strings.Contains(path, ".capstan-claim-") {
					once.Do(func() {
						close(asked)
						<-free
					})
				}
				return nil
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			ended := make(chan error, 1)
			go func() {
				_, err := p.backup(ctx, "a", "b")
				ended <- err
			}()
			<-asked
			cancel(&capstan.Error{Class: capstan.ErrInterrupted, Op: "run", Err: errors.New("by the test")})
			if err := <-ended; !errors.Is(err, capstan.ErrInterrupted) {
				t.Fatal(err)
			}
			open, err := p.Catalog.OpenSets(t.Context(), "job")
			if err != nil || len(open) != 1 || open[0].Status != capstan.RunInterrupted {
				t.Fatalf("%+v, %v", open, err)
			}
			close(free)
			until(t, "the claim to come through", func() bool {
				_, err := os.Lstat(filepath.Join(s.dir, "b", string(open[0].ID)))
				return err == nil
			})
			p.end()
			s.fault("b", nil)

			next := s.process(t)
			summary, err := next.backup(t.Context(), "a", "b")
			if err != nil || summary.Set != open[0].ID || !summary.Resumed {
				t.Fatalf("%+v, %v", summary, err)
			}
			next.requireWhole(summary.Set, "a", "b")
			for _, volume := range []string{"a", "b"} {
				left, err := filepath.Glob(filepath.Join(s.dir, volume, ".capstan-claim-*"))
				if err != nil || len(left) > 0 {
					t.Errorf("left: %q, %v", left, err)
				}
				sets, err := os.ReadDir(filepath.Join(s.dir, volume))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range sets {
					if strings.HasPrefix(e.Name(), "20") && e.Name() != string(summary.Set) {
						t.Errorf("beside the set: %s", e.Name())
					}
				}
			}
		})
	}
}
