package daemon_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// grower is a tree that lives: things come, change, move and go in it, all of it by a
// seed.
type grower struct {
	*testing.T
	*rand.Rand
	root string
	made int
}

// names are parts of names that programs get wrong.
var names = [...]string{
	"plain", "with space", "new\nline", "tab\t", "quote'\"", "-dash", ".dot", "ünïcode", "not\xff\xfeutf8", "a", "a.b", "a-b", "~", "x.capstan-part-0001", "DELETED",
}

// check ends the test on an error.
func (g *grower) check(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// all lists what there is, by path; dirs alone, or everything else.
func (g *grower) all(dirs bool) (paths []string) {
	g.Helper()
	g.check(filepath.WalkDir(g.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() == dirs {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// any picks one of the paths; empty for none.
func (g *grower) any(paths []string) string {
	if len(paths) == 0 {
		return ""
	}
	return paths[g.IntN(len(paths))]
}

// fresh is a path that is not there yet.
func (g *grower) fresh() string {
	g.made++
	return filepath.Join(g.any(g.all(true)), fmt.Sprintf("%s%d", names[g.IntN(len(names))], g.made))
}

// content is text that compresses, or noise that does not, of a length between nothing
// and more than an archive.
func (g *grower) content() []byte {
	n := []int{0, 1, 511, 512, 513, 10_000, 100_000, 300_000, 1_500_000}[g.IntN(9)]
	if n > 1 {
		n += g.IntN(n / 2)
	}
	b := bytes.Repeat([]byte("all work and no play "), n/20+1)[:n]
	if g.IntN(2) == 0 {
		for i := range b {
			b[i] = byte(g.Uint32())
		}
	}
	return b
}

// grow lets so many things happen.
func (g *grower) grow(steps int) {
	g.Helper()
	for range steps {
		if what := g.IntN(16); what < 9 {
			g.create(what)
		} else {
			g.change(what)
		}
	}
}

func (g *grower) create(what int) {
	g.Helper()
	path := g.fresh()
	switch what {
	case 0, 1:
		g.check(os.Mkdir(path, 0o755))
	case 2:
		g.check(os.Symlink(names[g.IntN(len(names))], path))
	case 3: // another name of a file
		old := g.any(g.all(false))
		if info, err := os.Lstat(old); err == nil && info.Mode().IsRegular() {
			g.check(os.Link(old, path))
		}
	case 4:
		g.sparse(path)
	case 5:
		g.check(unix.Mkfifo(path, 0o600))
	default:
		g.check(os.WriteFile(path, g.content(), 0o644))
	}
}

// sparse makes a file of holes and some data.
func (g *grower) sparse(path string) {
	g.Helper()
	file, err := os.Create(path)
	g.check(err)
	size := int64(g.IntN(3_000_000) + 1)
	g.check(file.Truncate(size))
	for range g.IntN(4) {
		_, err := file.WriteAt([]byte("data in a hole"), g.Int64N(size))
		g.check(err)
	}
	g.check(file.Close())
}

func (g *grower) change(what int) {
	g.Helper()
	path := g.any(g.all(false))
	if path == "" {
		return
	}
	info, err := os.Lstat(path)
	g.check(err)
	regular := info.Mode().IsRegular()
	switch {
	case what == 9:
		g.check(os.Remove(path))
	case what == 10: // a whole directory
		if dir := g.any(g.all(true)); dir != g.root && g.IntN(2) == 0 {
			g.check(os.RemoveAll(dir))
		}
	case what == 11:
		g.check(os.Rename(path, g.fresh()))
	case what == 12: // something else of the same name
		g.check(os.Remove(path))
		if g.IntN(2) == 0 {
			g.check(os.Mkdir(path, 0o700))
			path = filepath.Join(path, "within")
		}
		g.check(os.WriteFile(path, g.content(), 0o600))
	case what == 13 && regular:
		g.check(os.WriteFile(path, g.content(), 0o644))
	case what == 14 && regular:
		g.check(unix.Lsetxattr(path, "user.capstan", fmt.Append(nil, g.Uint64()), 0))
		g.check(os.Chmod(path, os.FileMode(0o600+g.IntN(64))))
	case regular:
		at := time.Unix(int64(g.Int32()), int64(g.IntN(1e9)))
		g.check(os.Chtimes(path, at, at))
		g.check(os.Lchown(path, g.IntN(5), g.IntN(5)))
	}
}
