package cli_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/capstantest"
)

// chainToConsolidate makes incremental sets, and gives the consolidation of the last one.
func (l *killLane) chainToConsolidate() (args []string) {
	l.t.Helper()
	if len(l.known) == 0 {
		l.wholeBackup()
	}
	var of string
	for range 1 + l.random.IntN(2) {
		of = l.incremental()
	}
	args = slices.Concat([]string{"consolidate", of, "--archive-size", "1MiB", "--json"}, l.identity())
	if l.staged {
		args = append(args, "--stage", filepath.Join(l.dir, "stage"))
	}
	return args
}

// incremental makes an incremental set undisturbed, and gives its id.
func (l *killLane) incremental() (set string) {
	l.t.Helper()
	l.grow()
	args := append(slices.Clone(l.backup), "--incremental")
	e := l.try(args...)
	l.expect(e, args, 0)
	l.known = l.entries(l.look())
	return summaryOf(l.t, e).Set
}

// consolidated calls the consolidation that was killed to its end, now and then with a
// backup between, and expects one set that holds the tree of the other one, by itself
// and on every volume.
func (l *killLane) consolidated(args []string) {
	l.t.Helper()
	of, was := capstan.SetID(args[1]), l.data
	if l.random.IntN(3) == 0 {
		was = filepath.Join(l.root, "was")
		if out, err := exec.CommandContext(l.t.Context(), "cp", "-a", l.data, was).CombinedOutput(); err != nil {
			l.t.Fatalf("cp: %v\n%s", err, out)
		}
		defer capstantest.RemoveAll(l.t, was)
		if between := l.incremental(); l.made(between).Consolidates != "" {
			l.t.Errorf("a backup went on with the consolidation: set %s", between)
		}
	}
	l.expect(l.try(args...), args, 0)
	r := l.look()
	var made []recorded
	for _, set := range r.sets {
		if set.Consolidates == of {
			made = append(made, set)
		}
	}
	if len(made) != 1 || made[0].Status != capstan.RunComplete || made[0].Base != "" {
		l.t.Fatalf("of set %s there were made: %+v", of, made)
	}
	there := 0
	for _, c := range made[0].copies {
		if good(c) {
			there++
		}
	}
	if want := len(made[0].archives) * len(r.locations); there != want || there == 0 {
		l.t.Errorf("set %s has %d good copies, want %d", made[0].ID, there, want)
	}
	if diff := l.run("diff", string(of), string(made[0].ID)); diff != "" {
		l.t.Errorf("set %s differs from %s, of which it was made:\n%s", made[0].ID, of, diff)
	}
	l.restores(string(made[0].ID), was)
}

// made is what the catalog knows of a set.
func (l *killLane) made(id string) recorded {
	l.t.Helper()
	for _, set := range l.look().sets {
		if string(set.ID) == id {
			return set
		}
	}
	l.t.Fatalf("the catalog does not know set %s", id)
	return recorded{}
}

// linksGo lets the rules go over the sets when one was consolidated: it is enough, and
// the one that it holds the tree of goes with its chain, unless a newer one builds on it.
func (l *killLane) linksGo(of capstan.SetID) records {
	l.t.Helper()
	needed := slices.ContainsFunc(l.look().sets, func(set recorded) bool { return set.Base == of })
	l.run(forgetting[:]...)
	r := l.look()
	if stays := slices.ContainsFunc(r.sets, func(set recorded) bool { return set.ID == of }); stays != needed {
		l.t.Errorf("set %s was consolidated; another one builds on it: %v; it is kept: %v", of, needed, stays)
	}
	return r
}

// pool is the volume from which sets are let go, be they on another one or not.
func (l *killLane) pool() string {
	if l.staged {
		return filepath.Join(l.dir, "two")
	}
	return l.vol
}

// inPool are the sets that the pool's volume shall hold, the newest first. What was
// written of one before it was abandoned there stays, and is not meant.
func (l *killLane) inPool(r records) (ids []capstan.SetID) {
	for _, set := range r.sets {
		if slices.ContainsFunc(set.demands, func(d capstan.Demand) bool {
			return d.State != capstan.CopyForgotten && r.locations[d.Volume] == l.pool()
		}) {
			ids = append(ids, set.ID)
		}
	}
	return ids
}

// setsToLetGo makes sets on the pool's volume, now and then an incremental one at last,
// and gives the words of a forget that keeps there what the newest one needs alone.
func (l *killLane) setsToLetGo() (args []string) {
	l.t.Helper()
	file := filepath.Join(l.dir, "capstan.yaml")
	text := fmt.Sprintf("volumes:\n  near: {location: %s}\npools:\n  near: {volumes: [near]}\n", l.pool())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	for do := true; do; do = len(l.inPool(l.look())) < 2 {
		l.wholeBackup()
	}
	if l.random.IntN(3) == 0 {
		l.incremental()
	}
	return append(slices.Clone(forgetting[:]), "--pool", "near", "--config", file)
}

// letGo calls the forget that was killed to its end, every other time behind a backup:
// on the pool's volume there is the newest set with what it builds on, from which the
// tree comes back without any other volume, and where there are others nothing is
// forgotten.
func (l *killLane) letGo(args []string) {
	l.t.Helper()
	if l.random.IntN(2) == 0 {
		l.wholeBackup()
	}
	before := l.look()
	kept := []capstan.SetID{before.sets[0].ID}
	for base := before.sets[0].Base; base != ""; base = l.made(string(base)).Base {
		kept = append(kept, base)
	}
	l.expect(l.try(args...), args, 0)
	after := l.look()
	if found := l.inPool(after); !slices.Equal(sorted(found), sorted(kept)) {
		l.t.Errorf("in the pool there are %q, want %q", found, kept)
	}
	if !l.staged {
		if len(after.sets) != len(kept) {
			l.t.Errorf("there are %d sets, want %q alone", len(after.sets), kept)
		}
		return
	}
	if len(after.sets) != len(before.sets) {
		l.t.Errorf("there were %d sets, and there are %d: the other volume has them", len(before.sets), len(after.sets))
	}
	away := l.vol + " is away"
	if err := os.Rename(l.vol, away); err != nil {
		l.t.Fatal(err)
	}
	l.restores(string(kept[0]), l.data)
	if err := os.Rename(away, l.vol); err != nil {
		l.t.Fatal(err)
	}
}

func sorted(ids []capstan.SetID) []capstan.SetID { return slices.Sorted(slices.Values(ids)) }

// restores restores a set and compares it with a tree.
func (l *killLane) restores(set, tree string) {
	l.t.Helper()
	back := filepath.Join(l.dir, "back")
	args := slices.Concat([]string{"restore", set, "--to", back}, l.identity())
	l.expect(l.try(args...), args, 0)
	capstantest.CompareTrees(l.t, tree, filepath.Join(back, "data"))
	capstantest.RemoveAll(l.t, back)
}

// forgets reports whether a command takes what is in the catalog out of it.
func (l *killLane) forgets(by command) bool {
	return by == theForget || by == thePool && !l.staged
}

// staying is what a command leaves as it was, of what was written before.
func (l *killLane) staying(by command, before written) written {
	switch {
	case by == theAbandon || l.forgets(by):
		return written{}
	case by == thePool:
		files := maps.Clone(before.files)
		maps.DeleteFunc(files, func(path string, _ onDisk) bool { return strings.HasPrefix(path, l.pool()+"/") })
		return written{files, before.sums}
	}
	return before
}
