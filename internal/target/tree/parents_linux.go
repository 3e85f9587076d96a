package tree

import (
	"container/list"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"capstan"
)

// openDirs bounds the directories that are held open between calls; the ones
// in use come on top, one or two for each call that is running.
const openDirs = 128

// freshDirs bounds the directories of which is remembered that they were just made.
const freshDirs = 1 << 14

const openDirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// openDir is a directory of the target, held open so that names in it are
// resolved relative to it and nothing above it matters any more.
type openDir struct {
	path string // "" is the target itself
	fd   int    // O_PATH
	// inherits is whether what is created here gets an ACL from the default ACL.
	inherits bool
	// named is set once the filesystem has refused files without a name.
	named atomic.Bool
	born  atomic.Pointer[birth] // of the latest file that was looked at

	// Guarded by the cache's mutex.
	users   int
	dropped bool // no longer in the cache: closed by its last user
	element *list.Element
}

// dirCache holds directories open, the least recently used ones closed first.
type dirCache struct {
	root  *openDir
	limit int
	found func(fd int) // called for a directory that is opened and may have been there before; nil: none was

	mu     sync.Mutex
	byPath map[string]*openDir
	fresh  map[string]struct{} // directories that were made in ones without a default ACL, and not yet finished
	recent list.List           // of *openDir, the latest used first
	closed bool
}

func newDirCache(root, limit int) *dirCache {
	return &dirCache{root: &openDir{fd: root, inherits: inheritsACL(root)}, limit: limit, byPath: map[string]*openDir{}, fresh: map[string]struct{}{}}
}

// resolve opens a directory of the target, "" being the target itself. Missing
// ones are made if create is set. Whoever gets it must release it.
func (c *dirCache) resolve(path string, create bool) (*openDir, error) {
	dir, err := c.nearest(path)
	if err != nil {
		return nil, err
	}
	for len(dir.path) < len(path) {
		child, err := c.step(dir, path, create)
		c.release(dir)
		if err != nil {
			return nil, err
		}
		dir = child
	}
	return dir, nil
}

// nearest gives the directory itself or the closest one above it that is open.
func (c *dirCache) nearest(path string) (*openDir, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fs.ErrClosed
	}
	for path != "" {
		if dir, ok := c.byPath[path]; ok {
			dir.users++
			c.recent.MoveToFront(dir.element)
			return dir, nil
		}
		path, _ = capstan.SplitPath(path)
	}
	c.root.users++
	return c.root, nil
}

// step opens the next directory below dir on the way to path.
func (c *dirCache) step(dir *openDir, path string, create bool) (*openDir, error) {
	start := len(dir.path)
	if start > 0 {
		start++
	}
	name, _, _ := strings.Cut(path[start:], "/")
	path = path[:start+len(name)]
	fd, err := openat(dir.fd, name, openDirFlags, 0)
	if errors.Is(err, unix.ENOENT) && create {
		if err := unix.Mkdirat(dir.fd, name, 0o777); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, failure(path, err)
		}
		fd, err = openat(dir.fd, name, openDirFlags, 0)
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, notADirectory(path, describe(dir.fd, name))
	}
	if err != nil {
		return nil, failure(path, err)
	}
	fresh := c.isFresh(path)
	if create && c.found != nil && !fresh {
		c.found(fd)
	}
	return c.insert(&openDir{path: strings.Clone(path), fd: fd, inherits: !fresh && inheritsACL(fd)}), nil
}

// made remembers a directory that was just made in one without a default ACL, and
// so has none itself. What is forgotten is looked at when it is opened.
func (c *dirCache) made(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.fresh) < freshDirs {
		c.fresh[path] = struct{}{}
	}
}

func (c *dirCache) isFresh(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, fresh := c.fresh[path]
	return fresh
}

// insert adds a directory just opened and gives it to its first user; if
// another call was faster, that one's is used.
func (c *dirCache) insert(dir *openDir) *openDir {
	c.mu.Lock()
	opened := dir
	if known, ok := c.byPath[dir.path]; ok {
		dir = known
		c.recent.MoveToFront(dir.element)
	} else if c.closed {
		dir.dropped = true
	} else {
		c.byPath[dir.path] = dir
		dir.element = c.recent.PushFront(dir)
	}
	dir.users++
	stale := c.shrink()
	c.mu.Unlock()
	if dir != opened {
		stale = append(stale, opened.fd)
	}
	closeAll(stale)
	return dir
}

// shrink takes directories that are not in use out of the cache, the least
// recently used ones first, until it is within its limit or all that are left
// are in use. The mutex is held; the caller closes what it gives.
func (c *dirCache) shrink() (stale []int) {
	for at := c.recent.Back(); at != nil && c.recent.Len() > c.limit; {
		idle := at.Value.(*openDir)
		at = at.Prev()
		if idle.users == 0 {
			c.remove(idle)
			stale = append(stale, idle.fd)
		}
	}
	return stale
}

// remove takes a directory out of the cache. The mutex is held.
func (c *dirCache) remove(dir *openDir) {
	delete(c.byPath, dir.path)
	c.recent.Remove(dir.element)
	dir.dropped = true
}

// release ends one use of a directory.
func (c *dirCache) release(dir *openDir) {
	c.mu.Lock()
	dir.users--
	last := dir.users == 0 && dir.dropped
	stale := c.shrink()
	c.mu.Unlock()
	if last {
		stale = append(stale, dir.fd)
	}
	closeAll(stale)
}

// forget closes a directory in which nothing more will be placed.
func (c *dirCache) forget(path string) {
	c.mu.Lock()
	delete(c.fresh, path)
	dir, ok := c.byPath[path]
	if ok {
		c.remove(dir)
		ok = dir.users == 0
	}
	c.mu.Unlock()
	if ok {
		closeAll([]int{dir.fd})
	}
}

// close closes every directory, those in use when their users are done.
func (c *dirCache) close() {
	c.mu.Lock()
	var idle []int
	if !c.closed {
		c.closed = true
		c.root.dropped = true
		if c.root.users == 0 {
			idle = append(idle, c.root.fd)
		}
		for _, dir := range c.byPath {
			c.remove(dir)
			if dir.users == 0 {
				idle = append(idle, dir.fd)
			}
		}
	}
	c.mu.Unlock()
	closeAll(idle)
}

// closeAll closes directories that were opened as O_PATH: there is nothing that
// such a close could lose, so its error says nothing.
func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// inheritsACL tells whether a directory has a default ACL; when that cannot be
// found out, it says yes, which costs time only.
func inheritsACL(fd int) bool {
	_, err := unix.Getxattr(procPath(fd), xattrDefaultACL, nil)
	return !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP)
}

// procPath names what an O_PATH descriptor refers to, for the system calls that
// take no such descriptor. Resolving it goes to that very inode, also where
// that is a symlink.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// describe says what stands under a name, for messages.
func describe(dir int, name string) string {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "no directory"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return "a symlink"
	case unix.S_IFREG:
		return "a file"
	}
	return "no directory"
}
