package daemon_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"capstan"
	"capstan/internal/capstantest"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/envelope"
	"capstan/internal/pipeline"
	"capstan/internal/policy"
)

var (
	consolidations = flag.Int("consolidations", 6, "random histories of a tree, in which sets are consolidated")
	historySeed    = flag.Uint64("history-seed", 20261120, "of the first of them; a failure prints its own")
)

// life is a job over a tree that changes, whose sets are consolidated and forgotten.
type life struct {
	*grower
	*daemon.Daemon
	dir     string
	volumes []string
	key     envelope.Key
	to      []string // recipients of the next set

	restore int

	consolidated int64 // sets

	mu   sync.Mutex
	said []string
}

// TestConsolidatedSetsHoldTheSameTree plays random histories: sets of all modes, codecs and
// sizes of archives, encrypted or not, are consolidated at any time, and each
// consolidated set restores what the set restores whose tree it holds. The job goes on
// upon it, and forgets what it replaces.
func TestConsolidatedSetsHoldTheSameTree(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() && made.Load() < int64(*consolidations) {
			t.Errorf("%d sets were consolidated in %d histories: this shows little", made.Load(), *consolidations)
		}
	})
	for n := range *consolidations {
		seed := *historySeed + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			l := newLife(t, seed)
			l.grow(40)
			l.backup(pipeline.Full)
			for range 8 {
				l.step()
			}
			l.latestIsTheTree()
			made.Add(l.consolidated)
		})
	}
}

func newLife(t *testing.T, seed uint64) *life {
	t.Helper()
	dir := t.TempDir()
	l := &life{dir: dir, grower: &grower{T: t, Rand: rand.New(rand.NewPCG(seed, 5)), root: filepath.Join(dir, "data")}}
	l.volumes = []string{filepath.Join(dir, "vol")}
	l.check(os.Mkdir(l.root, 0o755))
	var err error
	l.key, err = envelope.NewKey()
	l.check(err)
	say := func(format string, args ...any) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.said = append(l.said, fmt.Sprintf(format, args...))
	}
	l.Daemon, err = daemon.Open(t.Context(), daemon.Options{
		Home: filepath.Join(dir, "home"), Say: say, Memory: []capstan.Bytes{8 * capstan.MiB, 64 * capstan.MiB}[l.IntN(2)],
	})
	l.check(err)
	l.Engine.Identities = envelope.IdentitiesOf(l.key)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("-history-seed %d; said:\n%s", seed, strings.Join(l.said, "\n"))
		}
		_ = l.Close()
	})
	return l
}

// step lets the tree change and a backup be made, and sometimes consolidates or forgets.
func (l *life) step() {
	l.Helper()
	l.grow(l.IntN(30))
	if l.IntN(4) == 0 && len(l.to) == 0 { // what is encrypted once stays so
		l.to = []string{l.key.Recipient()}
	}
	l.backup([]pipeline.Mode{pipeline.Incremental, pipeline.Incremental, pipeline.Differential, pipeline.Full}[l.IntN(4)])
	if l.IntN(2) == 0 {
		l.consolidateAny()
	}
	if l.IntN(4) == 0 {
		l.forget()
	}
}

// how are settings that differ from set to set.
func (l *life) how() pipeline.Backup {
	l.Helper()
	volumes, err := l.Volumes(l.Context(), l.volumes)
	l.check(err)
	b := pipeline.Backup{
		Job: "job", Volumes: volumes, Level: 1, Codec: []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip, capstan.CodecNone}[l.IntN(3)],
		ArchiveSize: []capstan.Bytes{256 * capstan.KiB, capstan.MiB, capstan.GiB}[l.IntN(3)],
	}
	if len(l.to) > 0 {
		b.Recipients, err = envelope.ParseRecipients(l.to, nil)
		l.check(err)
	}
	return b
}

func (l *life) backup(mode pipeline.Mode) capstan.SetID {
	l.Helper()
	b := l.how()
	var err error
	b.Mode = mode
	b.Sources, err = l.Sources([]string{l.root}, nil, daemon.SourceOptions{})
	l.check(err)
	summary, err := l.Engine.Backup(l.Context(), b)
	l.check(err)
	return summary.Set
}

// consolidateAny takes one of the sets that build on others.
func (l *life) consolidateAny() {
	l.Helper()
	all, err := l.Catalog.Sets(l.Context(), catalog.SetFilter{})
	l.check(err)
	var sets []capstan.SetID
	for _, set := range all {
		if set.Base != "" {
			sets = append(sets, set.ID)
		}
	}
	if len(sets) == 0 {
		return
	}
	of := sets[l.IntN(len(sets))]
	b := l.how()
	b.Consolidates = of
	if l.IntN(2) == 0 {
		b.Recipients = nil // those of the set, unless it would lie open
	}
	summary, err := l.Engine.Consolidate(l.Context(), b)
	if b.Recipients == nil && errors.Is(err, capstan.ErrRefused) && strings.Contains(err.Error(), "would lie open") {
		return
	}
	l.check(err)
	l.consolidated++
	made, err := l.Catalog.Set(l.Context(), summary.Set)
	l.check(err)
	was, err := l.Catalog.Set(l.Context(), of)
	l.check(err)
	if made.Base != "" || made.Consolidates != of || !made.Started.Equal(was.Started) || made.Job != was.Job || made.Status != capstan.RunComplete ||
		made.Counts.Entries != was.Counts.Entries || made.Counts.BytesIn != was.Counts.BytesIn || was.Encrypted() && !made.Encrypted() {
		l.Errorf("made %+v\nof   %+v", made, was)
	}
	for change, err := range l.Engine.Diff(l.Context(), of, made.ID) {
		l.check(err)
		l.Errorf("set %s differs from %s: %c %s", made.ID, of, change.Sign, change.Entry.Path)
	}
	capstantest.CompareTrees(l, filepath.Join(l.back(of), "data"), filepath.Join(l.back(made.ID), "data"))
}

// back restores a set, and gives the directory.
func (l *life) back(set capstan.SetID) string {
	l.Helper()
	l.restore++
	target := filepath.Join(l.dir, fmt.Sprintf("back-%d", l.restore))
	_, err := l.Engine.Restore(l.Context(), pipeline.Restore{Set: set, Target: target})
	l.check(err)
	return target
}

// forget lets go of what newer sets do not need; all that is left restores.
func (l *life) forget() {
	l.Helper()
	_, err := l.Engine.Forget(l.Context(), pipeline.Forget{Job: "job", Rules: policy.Rules{Last: 1 + l.IntN(3)}})
	l.check(err)
	summary, err := l.Engine.Verify(l.Context(), pipeline.Verify{ReadData: 100})
	if l.check(err); summary.Failed > 0 {
		l.Errorf("after forgetting: %+v", summary.Problems)
	}
}

// latestIsTheTree expects that the catalog is sound and the latest set holds the tree as
// it is.
func (l *life) latestIsTheTree() {
	l.Helper()
	problems, err := l.Catalog.Check(l.Context())
	if l.check(err); len(problems) > 0 {
		l.Errorf("catalog: %q", problems)
	}
	set, err := l.Catalog.Latest(l.Context(), "job")
	l.check(err)
	capstantest.CompareTrees(l, l.root, filepath.Join(l.back(set.ID), "data"))
}
