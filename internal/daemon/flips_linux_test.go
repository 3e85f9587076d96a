package daemon_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/capstantest"
	"capstan/internal/daemon"
	"capstan/internal/pipeline"
)

// flips is how many bits TestFlips flips in each kind of artefact, one at a time;
// of each other kind of damage it does a fifth as many.
var (
	flips    = flag.Int("flips", 20, "bits to flip in each kind of artefact; 1000 for the whole claim")
	flipSeed = flag.Uint64("flip-seed", 4, "where the damage of TestFlips is drawn from")
)

// enough ends a subtest that has failed so often that more would say nothing.
const enough = 10

// TestFlips damages what a volume holds in every place and way, once at a time:
// every damage is noticed, what it costs is named and lies where the damage is, and
// all else comes back byte for byte.
func TestFlips(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name      string
		codec     capstan.Codec
		encrypted bool
	}{
		{"zstd", capstan.CodecZstd, false},
		{"gzip", capstan.CodecGzip, false},
		{"none", capstan.CodecNone, false},
		{"encrypted", capstan.CodecZstd, true},
		{"encrypted none", capstan.CodecNone, true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			v := newVault(t, kind.codec, kind.encrypted)
			for n, w := range v.wounds() {
				v.archive(n, w)
				if v.failed >= enough {
					t.Fatal("that is enough")
				}
			}
			v.healthy()
			t.Logf("%d damages, %d restores, which lost %d entries in all", v.damaged, v.restored, v.lost)
		})
	}
	for _, name := range []string{
		"manifest.json.zst", "manifest.json.zst.age", "SHA256SUMS", "SHA256SUMS.sig", "catalog.sqlite", "catalog.sqlite.age",
		"DELETED", "RESTORE.txt",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVault(t, capstan.CodecZstd, strings.HasSuffix(name, ".age"))
			for n, w := range v.wounds() {
				v.setFile(n, name, w)
				if v.failed >= enough {
					t.Fatal("that is enough")
				}
			}
			v.healthy()
			t.Logf("%d damages, %d restores, which lost %d entries in all", v.damaged, v.restored, v.lost)
		})
	}
}

// archive damages one archive of the chain.
func (v *vault) archive(n int, w wound) {
	v.Helper()
	a := v.archives[v.random.IntN(len(v.archives))]
	good := a.good
	bad, what := w(v.random, good, a.spots)
	what = fmt.Sprintf("damage %d (-flip-seed=%d), %s: %s", n, *flipSeed, a.info.Name, what)
	v.damaged++
	v.put(a.path, bad)
	defer v.put(a.path, good)
	costs := a.costs(v, bad)

	problems, err := v.verify(a.info.Set, 100)
	if !errors.Is(err, capstan.ErrIncomplete) || !slices.ContainsFunc(problems, named(a.info.Name)) {
		v.wrong("%s: verify does not name the archive: %v %v", what, problems, err)
	}
	known := map[string]bool{}
	for _, p := range problems {
		known[p.Object] = true
		if p.Object != a.info.Name && !costs[p.Object] {
			v.wrong("%s: verify names %s, which is elsewhere: %s", what, p.Object, p.Reason)
		}
	}
	for _, lost := range v.restore(what, costs) {
		if len(bad) == len(good) && !known[lost.Object] && !v.links[lost.Object] && v.held[lost.Object] == a.info.Set {
			v.wrong("%s: %s is lost, and verify does not say so: %s", what, lost.Object, lost.Reason)
		}
	}
}

// setFile damages what stands beside the archives of the second set.
func (v *vault) setFile(n int, name string, w wound) {
	v.Helper()
	set := v.sets[1]
	path := filepath.Join(v.vol, string(set), name)
	good := v.get(path)
	bad, what := w(v.random, good, nil)
	what = fmt.Sprintf("damage %d (-flip-seed=%d), %s: %s", n, *flipSeed, name, what)
	v.damaged++
	v.put(path, bad)
	defer v.put(path, good)

	problems, err := v.verify(set, 0)
	if !errors.Is(err, capstan.ErrIncomplete) || !slices.ContainsFunc(problems, func(p pipeline.Problem) bool {
		return strings.Contains(p.Object, string(set)) && strings.Contains(p.Reason, name)
	}) {
		v.wrong("%s: verify does not name it: %v %v", what, problems, err)
	}
	sums, proof := strings.HasPrefix(name, "SHA256SUMS"), strings.HasPrefix(name, "manifest")
	if sums || n%19 == 0 { // it reads none of the others
		if lost := v.restore(what, nil); len(lost) > 0 {
			v.wrong("%s: entries are lost: %v", what, lost)
		}
	}
	v.rebuild(what, sums || proof)
}

func named(object string) func(pipeline.Problem) bool {
	return func(p pipeline.Problem) bool { return p.Object == object }
}

// verify looks at a set, reads a share of its archives back and gives all that is wrong.
func (v *vault) verify(set capstan.SetID, percent int) ([]pipeline.Problem, error) {
	v.Helper()
	summary, err := v.Engine.Verify(v.Context(), pipeline.Verify{Sets: []capstan.SetID{set}, ReadData: percent})
	return summary.Problems, err
}

// restore restores the chain's last set and gives what is lost: nothing but what the
// damage may cost. All else is what was backed up, and what is lost is not there.
func (v *vault) restore(what string, costs map[string]bool) []pipeline.Problem {
	v.Helper()
	v.restored++
	back := filepath.Join(v.dir, "back")
	defer capstantest.RemoveAll(v.T, back)
	summary, err := v.Engine.Restore(v.Context(), pipeline.Restore{Set: v.sets[1], Target: back})
	lost := summary.Problems
	if (len(lost) > 0) != errors.Is(err, capstan.ErrIncomplete) || len(lost) == 0 && err != nil {
		v.wrong("%s: restore: %v, %d lost", what, err, len(lost))
		return lost
	}
	v.lost += len(lost)
	for _, p := range lost {
		if !costs[p.Object] {
			v.wrong("%s: %s is lost, which is elsewhere: %s", what, p.Object, p.Reason)
		}
		if _, err := os.Lstat(filepath.Join(back, p.Object)); !errors.Is(err, fs.ErrNotExist) {
			v.wrong("%s: %s was said to be lost, and is there: %v", what, p.Object, err)
		}
	}
	differences, err := capstantest.Diff(v.data, filepath.Join(back, "data"), capstantest.Skip(func(path string) bool {
		return slices.ContainsFunc(lost, named("data/"+path))
	}))
	if err != nil || len(differences) > 0 {
		v.wrong("%s: restored wrongly: %v %v", what, differences, err)
	}
	return lost
}

// rebuild reads the volume into a home that knows nothing: the damaged set is refused
// and named if what proves it is damaged, and is taken whole if it is not.
func (v *vault) rebuild(what string, refused bool) {
	v.Helper()
	home := filepath.Join(v.dir, "fresh")
	defer func() { v.check(os.RemoveAll(home)) }()
	var said strings.Builder
	d, err := daemon.Open(v.Context(), daemon.Options{Home: home, Say: func(format string, args ...any) {
		fmt.Fprintf(&said, format+"\n", args...)
	}})
	v.check(err)
	defer func() { v.check(d.Close()) }()
	d.Engine.Identities = v.Engine.Identities
	volume, err := d.Existing(v.vol)
	v.check(err)
	defer func() { v.check(volume.Close()) }()
	found, err := d.Engine.Rebuild(v.Context(), volume)
	switch {
	case refused && (!slices.Equal(found, v.sets[:1]) || !errors.Is(err, capstan.ErrIncomplete) || !strings.Contains(said.String(), string(v.sets[1]))):
		v.wrong("%s: a rebuild took %v, %v:\n%s", what, found, err, &said)
	case !refused && (!slices.Equal(found, v.sets) || err != nil):
		v.wrong("%s: a rebuild took %v, %v:\n%s", what, found, err, &said)
	}
	if problems, err := d.Catalog.Check(v.Context()); len(problems) > 0 || err != nil {
		v.wrong("%s: the rebuilt catalog: %v %v", what, problems, err)
	}
}

// healthy checks that nothing is left of all the damage.
func (v *vault) healthy() {
	v.Helper()
	for _, set := range v.sets {
		if problems, err := v.verify(set, 100); len(problems) > 0 || err != nil {
			v.Errorf("after all is as it was: %v %v", problems, err)
		}
	}
	if lost := v.restore("after all is as it was", nil); len(lost) > 0 {
		v.Errorf("after all is as it was: %v", lost)
	}
}

// wrong fails the test.
func (v *vault) wrong(format string, args ...any) {
	v.Helper()
	v.failed++
	v.Errorf(format, args...)
}

// wound makes a damaged copy of a file, and says what it did. Half of the single bits
// are near the spots, where something small stands that much depends on.
type wound func(random *rand.Rand, good []byte, spots []int) (bad []byte, what string)

// wounds are all the damages that a kind of artefact gets.
func (v *vault) wounds() (all []wound) {
	for range *flips {
		all = append(all, flipBit)
	}
	for range max(*flips/5, 1) {
		all = append(all, cutOff, appendMore, zeroSector(512), zeroSector(4096), swapBlocks)
	}
	return all
}

func flipBit(random *rand.Rand, good []byte, spots []int) ([]byte, string) {
	bad, at := slices.Clone(good), random.IntN(len(good))
	if n := len(spots); n > 0 && random.IntN(2) == 0 {
		at = min(max(spots[random.IntN(n)]+random.IntN(64)-32, 0), len(good)-1)
	}
	bit := random.IntN(8)
	bad[at] ^= 1 << bit
	return bad, fmt.Sprintf("bit %d of byte %d of %d", bit, at, len(good))
}

func cutOff(random *rand.Rand, good []byte, _ []int) ([]byte, string) {
	n := random.IntN(len(good))
	return slices.Clone(good[:n]), fmt.Sprintf("cut after %d of %d bytes", n, len(good))
}

func appendMore(random *rand.Rand, good []byte, _ []int) ([]byte, string) {
	bad := slices.Clone(good)
	n := 1 + random.IntN(5000)
	zeros := random.IntN(3) == 0
	for range n {
		b := byte(random.Uint32())
		if zeros {
			b = 0
		}
		bad = append(bad, b)
	}
	return bad, fmt.Sprintf("%d bytes behind its end", n)
}

// zeroSector wipes out a sector that is not zeros already. A file that is shorter
// than one loses all.
func zeroSector(size int) wound {
	return func(random *rand.Rand, good []byte, _ []int) ([]byte, string) {
		for {
			at := random.IntN((len(good)+size-1)/size) * size
			bad := slices.Clone(good)
			clear(bad[at:min(at+size, len(bad))])
			if !slices.Equal(bad, good) {
				return bad, fmt.Sprintf("sector of %d bytes at %d of %d", size, at, len(good))
			}
		}
	}
}

// swapBlocks exchanges two blocks that are not alike: of a filesystem's size, or
// smaller in a small file.
func swapBlocks(random *rand.Rand, good []byte, _ []int) ([]byte, string) {
	size := min(4096, len(good)/2)
	for {
		a, b := random.IntN(len(good)/size)*size, random.IntN(len(good)/size)*size
		bad := slices.Clone(good)
		copy(bad[a:a+size], good[b:])
		copy(bad[b:b+size], good[a:a+size])
		if !slices.Equal(bad, good) {
			return bad, fmt.Sprintf("blocks of %d bytes at %d and %d exchanged", size, a, b)
		}
	}
}
