package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
)

// copier restores a tree from a directory instead of from an archive: it makes
// the entries that a source would make, by the shortest way.
type copier struct {
	t     *testing.T
	tree  *Tree
	files sync.WaitGroup // files that are being placed
	slots chan struct{}  // nil: one after another
	first map[[2]uint64]string
	links [][2]string
	dirs  []capstan.Entry
}

// copyTree restores what lies in from below the name base. With workers, files
// are placed by several goroutines.
func copyTree(t *testing.T, tree *Tree, from, base string, workers int) {
	t.Helper()
	c := &copier{t: t, tree: tree, first: make(map[[2]uint64]string)}
	if workers > 0 {
		c.slots = make(chan struct{}, workers)
	}
	c.entry(unix.AT_FDCWD, from, base)
	c.files.Wait()
	for _, link := range c.links {
		if err := tree.Link(t.Context(), link[0], link[1]); err != nil {
			t.Error(err)
		}
	}
	for _, e := range slices.Backward(c.dirs) {
		if err := tree.FinishDir(t.Context(), e.Path, &e); err != nil {
			t.Error(err)
		}
	}
}

func (c *copier) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *copier) entry(dir int, name, path string) {
	var st unix.Stat_t
	c.must(unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW))
	if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return
	}
	e := capstan.Entry{
		Path: path, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		ModTime: time.Unix(st.Mtim.Unix()), Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev),
	}
	c.attributes(dir, name, &e)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Kind = capstan.KindDir
		c.directory(dir, name, e)
		return
	case unix.S_IFLNK:
		e.Kind = capstan.KindSymlink
		buf := make([]byte, 8192)
		n, err := unix.Readlinkat(dir, name, buf)
		c.must(err)
		e.Link = string(buf[:n])
	case unix.S_IFIFO:
		e.Kind = capstan.KindFifo
	case unix.S_IFCHR:
		e.Kind = capstan.KindCharDevice
	case unix.S_IFBLK:
		e.Kind = capstan.KindBlkDevice
	case unix.S_IFREG:
		e.Kind = capstan.KindFile
		key := [2]uint64{st.Dev, st.Ino}
		if first, ok := c.first[key]; ok {
			c.links = append(c.links, [2]string{path, first})
			return
		}
		c.first[key] = path
		c.file(dir, name, st.Size, e)
		return
	}
	c.must(c.tree.Place(c.t.Context(), path, &e, nil))
}

func (c *copier) directory(dir int, name string, e capstan.Entry) {
	c.must(c.tree.Dir(c.t.Context(), e.Path))
	c.dirs = append(c.dirs, e)
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	c.must(err)
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	c.must(err)
	slices.Sort(names)
	for _, child := range names {
		c.entry(fd, child, e.Path+"/"+child)
	}
}

// file places a file, its holes left out of the content.
func (c *copier) file(dir int, name string, size int64, e capstan.Entry) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	c.must(err)
	f := os.NewFile(uintptr(fd), name)
	e.Size = size
	var pieces []io.Reader
	stored := int64(0)
	for at := int64(0); at < size; {
		start, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		c.must(err)
		end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
		c.must(err)
		e.Data = append(e.Data, capstan.Extent{Offset: start, Length: end - start})
		pieces = append(pieces, io.NewSectionReader(f, start, end-start))
		stored, at = stored+end-start, end
	}
	if e.Sparse = stored < size; !e.Sparse {
		e.Data = nil
	}
	place := func() {
		defer f.Close()
		if err := c.tree.Place(c.t.Context(), e.Path, &e, io.MultiReader(pieces...)); err != nil {
			c.t.Error(err)
		}
	}
	if c.slots == nil {
		place()
		return
	}
	c.slots <- struct{}{}
	c.files.Go(func() { place(); <-c.slots })
}

func (c *copier) attributes(dir int, name string, e *capstan.Entry) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	c.must(err)
	defer unix.Close(fd)
	names := make([]byte, 64<<10)
	n, err := unix.Listxattr(procPath(fd), names)
	c.must(err)
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if attr == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Getxattr(procPath(fd), attr, value)
		c.must(err)
		switch attr {
		case xattrACL:
			e.ACL = decodeACL(value[:n])
		case xattrDefaultACL:
			e.DefaultACL = decodeACL(value[:n])
		default:
			e.Xattrs = append(e.Xattrs, capstan.Xattr{Name: attr, Value: bytes.Clone(value[:n])})
		}
	}
}

// decodeACL writes the value of an ACL attribute as text.
func decodeACL(value []byte) string {
	names := map[uint16]string{
		aclUserObj: "user:", aclUser: "user:", aclGroupObj: "group:", aclGroup: "group:", aclMask: "mask:", aclOther: "other:",
	}
	var parts []string
	for b := value[4:]; len(b) >= 8; b = b[8:] {
		tag, perm, id := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
		text := names[tag]
		if tag == aclUser || tag == aclGroup {
			text += fmt.Sprint(id)
		}
		rights := []byte("---")
		for i := range rights {
			if perm&(4>>i) != 0 {
				rights[i] = "rwx"[i]
			}
		}
		parts = append(parts, text+":"+string(rights))
	}
	return strings.Join(parts, ",")
}

// open opens a target that is closed at the end of the test.
func open(t *testing.T, dir string, o Options) *Tree {
	t.Helper()
	tree, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

// placeText places a small file with the mode 0644.
func placeText(ctx context.Context, tree *Tree, path, content string) error {
	e := capstan.Entry{Path: path, Kind: capstan.KindFile, Mode: 0o644, Size: int64(len(content)), UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	return tree.Place(ctx, path, &e, strings.NewReader(content))
}
