package slowfs

import (
	"errors"
	"path"
	"sync"
	"syscall"
	"time"
)

// Op is a kind of operation, as the kernel asks for it.
type Op string

// The kinds that rules may be for. Close is what every close(2) asks for, and
// where filesystems report late errors; SyncDir is the fsync of a directory.
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
)

// Rule says what becomes of operations. Its parts may be combined; they come in
// the order of its fields.
type Rule struct {
	Op    Op     // empty: all kinds
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
}

// check refuses a rule that could never do anything.
func (r Rule) check() error {
	if _, err := path.Match(r.Name, ""); err != nil {
		return err
	}
	if r.Delay == 0 && r.Rate == 0 && !r.Hold && r.Errno == 0 {
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

	mu   sync.Mutex
	seen int
	free time.Time // when the rate allows the next byte
}

// meets counts an operation and says whether the rule is for this one.
func (f *force) meets(op Op, name string) (n int, met bool) {
	if f.Op != "" && f.Op != op {
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
