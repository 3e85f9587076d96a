package capstantest

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// HostileTree fills dir, which it makes if needed, with everything that a
// faithful backup must keep and that careless ones lose: odd names, paths longer
// than PATH_MAX, links, holes, modes, owners, special files, xattrs, ACLs, times.
// The tree is the same at every call and takes about 20 MB.
//
// It fails tb when something cannot be made. What only root may make is left out
// for others; what the filesystem does not know is left out and logged.
func HostileTree(tb testing.TB, dir string) {
	tb.Helper()
	b := &builder{tb: tb, root: dir, asRoot: os.Geteuid() == 0, clock: time.Unix(1_600_000_000, 123_456_789)}
	b.check(os.MkdirAll(dir, 0o755))
	for _, part := range []func(){
		b.contents, b.names, b.order, b.tarNames, b.longPaths, b.links, b.sparse,
		b.modes, b.owners, b.special, b.attributes, b.acls, b.times, b.directories,
	} {
		part()
	}
	b.settle()
}

// builder makes a tree. Paths are relative to its root.
type builder struct {
	tb     testing.TB
	root   string
	asRoot bool
	clock  time.Time
	dirs   []madeDir // in the order in which they were made
}

// madeDir is a directory that gets its mode and time once it is filled.
type madeDir struct {
	path  string
	mode  uint32
	mtime time.Time
}

func (b *builder) check(err error) {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatalf("hostile tree: %v", err)
	}
}

// optional forgives what the filesystem does not know.
func (b *builder) optional(what string, err error) {
	b.tb.Helper()
	if errors.Is(err, unix.ENOTSUP) {
		b.tb.Logf("hostile tree: the filesystem has no %s", what)
		return
	}
	b.check(err)
}

func (b *builder) path(rel string) string { return filepath.Join(b.root, rel) }

// tick gives every entry a time of its own, with nanoseconds.
func (b *builder) tick() time.Time {
	b.clock = b.clock.Add(1_000_000_007 * time.Nanosecond)
	return b.clock
}

// dir makes a directory, whose mode and time are set at the end.
func (b *builder) dir(rel string, mode uint32) {
	b.tb.Helper()
	b.check(os.MkdirAll(b.path(rel), 0o755))
	b.dirs = append(b.dirs, madeDir{rel, mode, b.tick()})
}

// file makes a file; its directory must be there.
func (b *builder) file(rel string, content []byte, mode uint32) {
	b.tb.Helper()
	b.check(os.WriteFile(b.path(rel), content, 0o600))
	b.check(unix.Chmod(b.path(rel), mode))
	b.touch(rel, b.tick())
}

func (b *builder) touch(rel string, mtime time.Time) {
	b.tb.Helper()
	at, err := unix.TimeToTimespec(mtime)
	b.check(err)
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}
	b.check(unix.UtimesNanoAt(unix.AT_FDCWD, b.path(rel), times, unix.AT_SYMLINK_NOFOLLOW))
}

func (b *builder) symlink(rel, target string) {
	b.tb.Helper()
	b.check(os.Symlink(target, b.path(rel)))
	b.touch(rel, b.tick())
}

// settle gives directories their modes and times, the deepest first.
func (b *builder) settle() {
	b.tb.Helper()
	for _, d := range slices.Backward(b.dirs) {
		b.check(unix.Chmod(b.path(d.path), d.mode))
		b.touch(d.path, d.mtime)
	}
	b.touch(".", b.tick())
}

// sorted iterates in the order of the keys, so that every tree is made alike.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

// text gives n bytes that compress well.
func text(n int) []byte {
	var s strings.Builder
	for i := 0; s.Len() < n; i++ {
		fmt.Fprintf(&s, "line %d of a text that compresses well\n", i)
	}
	return []byte(s.String()[:n])
}

// noise gives n bytes that do not compress; equal seeds give equal bytes.
func noise(n int, seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(random.Uint32())
	}
	return out
}
