package capstantest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// maxDifferences bounds the list that Diff gives.
const maxDifferences = 100

// Option makes a comparison forgive something.
type Option func(*comparison)

// WithSockets compares sockets too; they are not backed up, so without it they
// are passed over on both sides.
func WithSockets() Option { return func(c *comparison) { c.sockets = true } }

// IgnoreOwners passes over user and group ids.
func IgnoreOwners() Option { return func(c *comparison) { c.noOwners = true } }

// IgnoreHoles compares the content of sparse files but not where the holes are.
func IgnoreHoles() Option { return func(c *comparison) { c.noHoles = true } }

// IgnoreXattrs passes over extended attributes and ACLs.
func IgnoreXattrs() Option { return func(c *comparison) { c.noXattrs = true } }

// IgnoreTimes passes over times of modification.
func IgnoreTimes() Option { return func(c *comparison) { c.noTimes = true } }

// IgnoreRoot passes over the metadata of the two directories themselves.
func IgnoreRoot() Option { return func(c *comparison) { c.noRoot = true } }

// Skip passes over paths (relative to the trees) for which skip is true, and
// over all that lies below them.
func Skip(skip func(path string) bool) Option { return func(c *comparison) { c.skip = skip } }

// CompareTrees fails tb with a list of all that differs between two trees; see Diff.
func CompareTrees(tb testing.TB, want, got string, options ...Option) {
	tb.Helper()
	differences, err := Diff(want, got, options...)
	if err != nil {
		tb.Errorf("compare %s with %s: %v", want, got, err)
	}
	if len(differences) > 0 {
		tb.Errorf("%s differs from %s:\n\t%s", got, want, strings.Join(differences, "\n\t"))
	}
}

// Diff compares two trees completely: names, kinds, modes, owners, times of
// modification in nanoseconds, content, holes, symlink targets, device numbers,
// hard links, xattrs and ACLs, of the two directories themselves too. It follows
// no symlink, and paths may be of any length. It gives one line for each
// difference, at most a hundred and one that counts the rest. The error says
// that something could not be looked at, and what.
func Diff(want, got string, options ...Option) ([]string, error) {
	c := &comparison{wantLinks: make(links), gotLinks: make(links)}
	for _, option := range options {
		option(c)
	}
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	wantFD, err := unix.Open(want, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", want, err)
	}
	defer unix.Close(wantFD)
	gotFD, err := unix.Open(got, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", got, err)
	}
	defer unix.Close(gotFD)
	if !c.noRoot {
		err = c.both(".", node{wantFD, "."}, node{gotFD, "."})
	}
	if err == nil {
		err = c.dirs("", wantFD, gotFD)
	}
	c.hardLinks()
	if c.more > 0 {
		c.found = append(c.found, fmt.Sprintf("... and %d more", c.more))
	}
	return c.found, err
}

type comparison struct {
	sockets, noOwners, noHoles, noXattrs, noTimes, noRoot bool
	skip                                                  func(string) bool

	wantLinks, gotLinks links
	found               []string
	more                int
}

// node is a name in an open directory.
type node struct {
	dir  int
	name string
}

func (n node) open(flags int) (int, error) {
	return unix.Openat(n.dir, n.name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func (c *comparison) differ(path, format string, args ...any) {
	if len(c.found) == maxDifferences {
		c.more++
		return
	}
	if len(path) > 300 {
		path = path[:120] + "..." + path[len(path)-120:]
	}
	c.found = append(c.found, fmt.Sprintf("%q: ", path)+fmt.Sprintf(format, args...))
}

// dirs compares what lies in two open directories.
func (c *comparison) dirs(path string, want, got int) error {
	wantNames, err := list(want)
	if err != nil {
		return fmt.Errorf("list %q: %w", path, err)
	}
	gotNames, err := list(got)
	if err != nil {
		return fmt.Errorf("list restored %q: %w", path, err)
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(wantNames, gotNames))))
	for _, name := range all {
		at := name
		if path != "" {
			at = path + "/" + name
		}
		if c.skip != nil && c.skip(at) {
			continue
		}
		_, inWant := slices.BinarySearch(wantNames, name)
		_, inGot := slices.BinarySearch(gotNames, name)
		if err := c.entry(at, node{want, name}, node{got, name}, inWant, inGot); err != nil {
			return err
		}
	}
	return nil
}

// entry compares one name, which is in one or both of the trees.
func (c *comparison) entry(path string, want, got node, inWant, inGot bool) error {
	if !c.sockets {
		inWant = inWant && !want.isSocket()
		inGot = inGot && !got.isSocket()
	}
	switch {
	case inWant && !inGot:
		c.differ(path, "missing")
	case inGot && !inWant:
		c.differ(path, "not expected")
	case inWant && inGot:
		return c.both(path, want, got)
	}
	return nil
}

func (n node) isSocket() bool {
	var st unix.Stat_t
	err := unix.Fstatat(n.dir, n.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// both compares a name that is in both trees, and what lies below it.
func (c *comparison) both(path string, want, got node) error {
	var w, g unix.Stat_t
	if err := unix.Fstatat(want.dir, want.name, &w, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("stat %q: %w", path, err)
	}
	if err := unix.Fstatat(got.dir, got.name, &g, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("stat restored %q: %w", path, err)
	}
	kind := w.Mode & unix.S_IFMT
	if kind != g.Mode&unix.S_IFMT {
		c.differ(path, "kind %o, want %o", g.Mode&unix.S_IFMT, kind)
		return nil
	}
	c.stats(path, &w, &g)
	if !c.noXattrs {
		if err := c.xattrs(path, want, got); err != nil {
			return err
		}
	}
	if kind != unix.S_IFDIR {
		c.wantLinks.add(path, &w)
		c.gotLinks.add(path, &g)
	}
	switch kind {
	case unix.S_IFREG:
		return c.files(path, want, got, &w, &g)
	case unix.S_IFLNK:
		return c.symlinks(path, want, got)
	case unix.S_IFDIR:
		if path != "." {
			return c.below(path, want, got)
		}
	}
	return nil
}

// stats compares what stat tells of both.
func (c *comparison) stats(path string, w, g *unix.Stat_t) {
	kind := w.Mode & unix.S_IFMT
	if w.Mode != g.Mode {
		c.differ(path, "mode %04o, want %04o", g.Mode&0o7777, w.Mode&0o7777)
	}
	if !c.noOwners && (w.Uid != g.Uid || w.Gid != g.Gid) {
		c.differ(path, "owner %d:%d, want %d:%d", g.Uid, g.Gid, w.Uid, w.Gid)
	}
	if !c.noTimes && w.Mtim != g.Mtim {
		c.differ(path, "mtime %d.%09d, want %d.%09d", g.Mtim.Sec, g.Mtim.Nsec, w.Mtim.Sec, w.Mtim.Nsec)
	}
	if (kind == unix.S_IFCHR || kind == unix.S_IFBLK) && w.Rdev != g.Rdev {
		c.differ(path, "device %d:%d, want %d:%d", unix.Major(g.Rdev), unix.Minor(g.Rdev), unix.Major(w.Rdev), unix.Minor(w.Rdev))
	}
}

// below compares the contents of two directories.
func (c *comparison) below(path string, want, got node) error {
	w, err := want.open(unix.O_RDONLY | unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open %q: %w", path, err)
	}
	defer unix.Close(w)
	g, err := got.open(unix.O_RDONLY | unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open restored %q: %w", path, err)
	}
	defer unix.Close(g)
	return c.dirs(path, w, g)
}

func (c *comparison) symlinks(path string, want, got node) error {
	w, errW := want.readlink()
	g, errG := got.readlink()
	if err := errors.Join(errW, errG); err != nil {
		return fmt.Errorf("read symlink %q: %w", path, err)
	}
	if w != g {
		c.differ(path, "symlink to %q, want %q", g, w)
	}
	return nil
}

func (n node) readlink() (string, error) {
	buf := make([]byte, 8192)
	size, err := unix.Readlinkat(n.dir, n.name, buf)
	return string(buf[:max(size, 0)]), err
}

// xattrs compares attributes through the link that /proc has for an open inode:
// it leads to symlinks and devices themselves.
func (c *comparison) xattrs(path string, want, got node) error {
	w, errW := want.xattrs()
	g, errG := got.xattrs()
	if err := errors.Join(errW, errG); err != nil {
		return fmt.Errorf("xattrs of %q: %w", path, err)
	}
	for name, value := range sorted(w) {
		is, ok := g[name]
		if !ok {
			c.differ(path, "xattr %q missing", name)
		} else if !bytes.Equal(is, value) {
			c.differ(path, "xattr %q is %q, want %q", name, is, value)
		}
	}
	for name := range sorted(g) {
		if _, ok := w[name]; !ok {
			c.differ(path, "xattr %q not expected", name)
		}
	}
	return nil
}

func (n node) xattrs() (map[string][]byte, error) {
	fd, err := n.open(unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	proc := fmt.Sprintf("/proc/self/fd/%d", fd)
	names := make([]byte, 64<<10)
	size, err := unix.Listxattr(proc, names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := make(map[string][]byte)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:size]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		size, err := unix.Getxattr(proc, name, value)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		all[name] = bytes.Clone(value[:size])
	}
	return all, nil
}

// list gives the sorted names in an open directory.
func list(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "directory")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	slices.Sort(names)
	return names, err
}
