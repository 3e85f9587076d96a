package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"capstan"
	"capstan/internal/capstantest"
	"capstan/internal/pipeline"
)

// TestConsolidationNamesDamage flips bits in archives of a chain: what a restore of its
// last set names is what its consolidation names, and the consolidated set restores all
// else, also what is larger than a frame, in pieces, or has several names.
func TestConsolidationNamesDamage(t *testing.T) {
	t.Parallel()
	lost, spared := 0, 0
	for n := range max(2, *consolidations/3) {
		seed := *historySeed + 1000 + uint64(n)
		l := newLife(t, seed)
		l.grow(60)
		l.backup(pipeline.Full)
		for range 2 {
			l.grow(20)
			l.backup(pipeline.Incremental)
		}
		set, err := l.Catalog.Latest(t.Context(), "job")
		l.check(err)
		for range 4 {
			undo := l.flip()
			if l.damaged(set) {
				lost++
			} else {
				spared++
			}
			undo()
		}
		if t.Failed() {
			return
		}
	}
	if lost == 0 {
		t.Errorf("no entry was lost in %d flips: this shows nothing", spared)
	}
}

// flip changes a bit of an archive, and gives what undoes it.
func (l *life) flip() (undo func()) {
	l.Helper()
	archives, err := filepath.Glob(filepath.Join(l.volumes[0], "*", "backup_*"))
	l.check(err)
	slices.Sort(archives)
	path := archives[l.IntN(len(archives))]
	content, err := os.ReadFile(path)
	l.check(err)
	changed := slices.Clone(content)
	at := l.IntN(len(changed))
	changed[at] ^= 1 << l.IntN(8)
	l.check(os.WriteFile(path, changed, 0o600))
	l.Logf("flipped byte %d of %d in %s", at, len(changed), path)
	return func() { l.check(os.WriteFile(path, content, 0o600)) }
}

// damaged compares the consolidation of a set with its restore; it reports whether
// something was lost.
func (l *life) damaged(set capstan.Set) bool {
	l.Helper()
	l.restore++
	target := filepath.Join(l.dir, fmt.Sprintf("damaged-%d", l.restore))
	restored, err := l.Engine.Restore(l.Context(), pipeline.Restore{Set: set.ID, Target: target})
	if !errors.Is(err, capstan.ErrIncomplete) {
		l.check(err)
	}
	b := l.how()
	b.Consolidates = set.ID
	made, err := l.Engine.Consolidate(l.Context(), b)
	if !errors.Is(err, capstan.ErrIncomplete) {
		l.check(err)
	}
	want, got := objects(restored.Problems), objects(made.Problems)
	if !slices.Equal(got, want) || (made.Status == capstan.RunPartial) != (len(want) > 0) || made.Failed != int64(len(want)) {
		l.Errorf("set %s is %s and lacks %q\nthe restore lacks %q", made.Set, made.Status, got, want)
	}
	capstantest.CompareTrees(l, filepath.Join(target, "data"), filepath.Join(l.back(made.Set), "data"))
	by, err := l.Engine.Consolidated(l.Context(), set, nil)
	l.check(err)
	if (by.ID == made.Set) != (len(want) == 0) {
		l.Errorf("set %s lacks %d entries, and %q holds the tree of %s", made.Set, len(want), by.ID, set.ID)
	}
	return len(want) > 0
}

func objects(problems []pipeline.Problem) (all []string) {
	for _, p := range problems {
		all = append(all, p.Object)
	}
	slices.Sort(all)
	return all
}
