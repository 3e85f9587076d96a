package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noise gives bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}

// write makes a file, and the directories above it.
func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// plant makes n files of 1 to 2*size bytes in some directories.
func plant(t *testing.T, dir string, seed uint64, n, size int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("dir-%02d", i*7%(n/10+1)), fmt.Sprintf("file-%04d", i))
		write(t, path, noise(seed+uint64(i), 1+random.IntN(2*size)))
	}
}

// splitLink is the second name of the large file in a garden.
const splitLink = "mid/name of large"

// garden makes a tree of some 9 MiB with one of each: small files in many
// directories, a file that is split at 1 MiB, holes, links, odd times.
func garden(t *testing.T, dir string, seed uint64) {
	t.Helper()
	plant(t, filepath.Join(dir, "small"), seed, 160, 20<<10)
	write(t, filepath.Join(dir, "large"), noise(seed+1000, 3<<20))
	write(t, filepath.Join(dir, "zz", "middle"), noise(seed+1001, 700<<10))
	write(t, filepath.Join(dir, "empty file"), nil)
	write(t, filepath.Join(dir, "mid", "set"), []byte("setuid"))
	sparse := filepath.Join(dir, "mid", "sparse")
	write(t, sparse, []byte("begins"))
	for _, err := range []error{
		os.Truncate(sparse, 5<<20),
		os.Link(filepath.Join(dir, "large"), filepath.Join(dir, splitLink)),
		os.Link(filepath.Join(dir, "zz", "middle"), filepath.Join(dir, "mid", "middle")),
		os.Symlink("../large", filepath.Join(dir, "mid", "symlink")),
		os.MkdirAll(filepath.Join(dir, "mid", "empty"), 0o700),
		os.Chmod(filepath.Join(dir, "mid", "set"), 0o4750|os.ModeSetuid),
		unix.Setxattr(sparse, "user.note", []byte("kept"), 0),
		os.Chtimes(filepath.Join(dir, "mid"), time.Time{}, time.Unix(1_500_000_000, 987_654_321)),
		os.Chtimes(filepath.Join(dir, "mid", "empty"), time.Time{}, time.Unix(-5, 1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wholeFiles expects every regular file of a tree that was restored in part to
// have the whole content of the original, and tells how many there are.
func wholeFiles(t *testing.T, original, restored string) (n int) {
	t.Helper()
	err := filepath.WalkDir(restored, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(filepath.Join(original, strings.TrimPrefix(path, restored)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not whole: %d bytes, want %d (%v)", path, len(got), len(want), err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	return n
}
