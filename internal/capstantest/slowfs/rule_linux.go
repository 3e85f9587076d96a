package slowfs

import (
	"errors"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Op is a kind of operation, as the kernel asks for it.
type Op string

// The kinds that rules may be for. Close is what every close(2) asks for, and
// where filesystems report late errors; SyncDir is the fsync of a directory; List
// opens a directory, and Readdir gives the names in it, one an operation; Resize
// changes the length of a file, and Setattr all else that a file is known by.
const (
	Open    Op = "open" // of a file that is there
	Create  Op = "create"
	Read    Op = "read"
	Write   Op = "write"
	Sync    Op = "sync"
	SyncDir Op = "syncdir"
	Close   Op = "close"
	Rename  Op = "rename"
	Unlink  Op = "unlink"
	Mkdir   Op = "mkdir"
	Rmdir   Op = "rmdir"
	Lookup  Op = "lookup"
	Stat    Op = "stat"
	List    Op = "list"
	Free    Op = "free" // statfs

	Readdir  Op = "readdir"
	Resize   Op = "resize" // truncate(2)
	Allocate Op = "allocate"
	Setattr  Op = "setattr" // mode, owner, times
	Setxattr Op = "setxattr"
	Getxattr Op = "getxattr" // also the list of them
	Symlink  Op = "symlink"
	Readlink Op = "readlink"
	Link     Op = "link"
	Mknod    Op = "mknod"
	Seek     Op = "seek" // for data or a hole
)

// Ops are all kinds.
func Ops() []Op {
	return []Op{
		Open, Create, Read, Write, Sync, SyncDir, Close, Rename, Unlink, Mkdir, Rmdir, Lookup, Stat, List, Free,
		Readdir, Resize, Allocate, Setattr, Setxattr, Getxattr, Symlink, Readlink, Link, Mknod, Seek,
	}
}

// Rule says what becomes of operations. Its parts may be combined; they come in
// the order of its fields.
type Rule struct {
	Op    Op     // empty: all kinds
	Ops   []Op   // instead of Op: several kinds, counted together
	Name  string // pattern of path.Match for the last name of the path, of a rename the new one; empty: all
	After int    // so many such operations pass first
	Times int    // then so many are met; 0: all

	// Late does the operation first: what follows is about the answer. A held or
	// failed one has happened.
	Late  bool
	Delay time.Duration
	Rate  int64         // bytes a second of reads and writes, all together; 0: any
	Hold  bool          // no answer before the rule ends
	Errno syscall.Errno // the answer; 0: what the operation gives
	// Short lets a write take half of its bytes, as a disk does that fills up in the
	// middle of it. With an Errno this is for the first one alone, and those after it
	// have the error. The kernel hands a short write on to who has asked for it; of a
	// single byte there is no half, it is written.
	Short bool
}

// check refuses a rule that could never do anything.
func (r Rule) check() error {
	if _, err := path.Match(r.Name, ""); err != nil {
		return err
	}
	if r.Short && r.Late {
		return errors.New("a write cannot be short after it was done")
	}
	if r.Delay == 0 && r.Rate == 0 && !r.Hold && r.Errno == 0 && !r.Short {
		return errors.New("the rule does nothing")
	}
	return nil
}

// Hit is an operation that a rule was met by.
type Hit struct {
	Op   Op
	Path string // relative to the mount; of a rename the new one
	N    int    // of the operations that the rule is for, from 1
}

// force is a rule in force, on the server's side.
type force struct {
	Rule
	id    int
	ended chan struct{} // closed when the rule is taken away

	mu    sync.Mutex
	seen  int
	free  time.Time // when the rate allows the next byte
	short bool      // a write was cut short
}

// meets counts an operation and says whether the rule is for this one.
func (f *force) meets(op Op, name string) (n int, met bool) {
	if len(f.Ops) > 0 && !slices.Contains(f.Ops, op) || len(f.Ops) == 0 && f.Op != "" && f.Op != op {
		return 0, false
	}
	if match, err := path.Match(f.Name, path.Base(name)); f.Name != "" && (err != nil || !match) {
		return 0, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
	return f.seen, f.seen > f.After && (f.Times == 0 || f.seen <= f.After+f.Times)
}

// wait lets pass the time that the rule demands for n bytes.
func (f *force) wait(n int) {
	delay := f.Delay
	if f.Rate > 0 && n > 0 {
		f.mu.Lock()
		now := time.Now()
		if f.free.Before(now) {
			f.free = now
		}
		f.free = f.free.Add(time.Duration(float64(n) / float64(f.Rate) * float64(time.Second)))
		delay += f.free.Sub(now)
		f.mu.Unlock()
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-f.ended:
		}
	}
	if f.Hold {
		<-f.ended
	}
}

// answer is what becomes of an operation that moves n bytes once its time has come:
// how many of them it moves, or the error that it has instead.
func (f *force) answer(op Op, n int) (int, syscall.Errno) {
	if !f.Short {
		return n, f.Errno
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.short && f.Errno != 0:
		return n, f.Errno
	case op != Write || n < 2:
		return n, 0
	}
	f.short = true
	return n / 2, 0
}
