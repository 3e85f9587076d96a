package slowfs

import (
	"context"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"capstan/internal/capstantest/powerloss"
)

// recorder keeps the log of a mount. Whatever changes something is done while mu is
// held, so that the log has the order in which it came about; a sync is not, since
// nothing waits for it. A nil recorder lets all pass.
type recorder struct {
	mu      sync.Mutex
	log     *powerloss.Writer
	numbers map[fs.StableAttr]uint64
}

func newRecorder(path string) (*recorder, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &recorder{log: powerloss.NewWriter(file), numbers: map[fs.StableAttr]uint64{}}, nil
}

// change does work, which fills in the record, and logs it when it went well.
func (r *recorder) change(work func(*powerloss.Record) syscall.Errno) syscall.Errno {
	var record powerloss.Record
	if r == nil {
		return work(&record)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	errno := work(&record)
	if errno == 0 && record.Kind != "" && r.log.Append(record) != nil {
		return syscall.EIO
	}
	return errno
}

// sync does work and logs that what was logged before it is durable.
func (r *recorder) sync(kind powerloss.Kind, n *node, work func() syscall.Errno) syscall.Errno {
	if r == nil {
		return work()
	}
	r.mu.Lock()
	before := r.log.Len()
	r.mu.Unlock()
	if errno := work(); errno != 0 {
		return errno
	}
	return r.change(func(record *powerloss.Record) syscall.Errno {
		record.Kind, record.Node, record.Before = kind, n.number(), before
		return 0
	})
}

// number is that of the node in the log. The recorder's lock is held, if there is
// one.
func (n *node) number() uint64 { return n.server.record.of(n.EmbeddedInode()) }

func (r *recorder) of(inode *fs.Inode) uint64 {
	switch {
	case r == nil:
		return 0
	case inode.IsRoot():
		return powerloss.Root
	}
	attr := inode.StableAttr()
	if r.numbers[attr] == 0 {
		r.numbers[attr] = powerloss.Root + 1 + uint64(len(r.numbers))
	}
	return r.numbers[attr]
}

func (n *node) entry(name string) powerloss.Entry {
	return powerloss.Entry{Dir: n.number(), Name: name}
}

// child is the number of what bears a name; the kernel has looked it up before it
// asks for a change.
func (n *node) child(name string) uint64 {
	if child := n.GetChild(name); child != nil {
		return n.server.record.of(child)
	}
	return 0
}

// made fills in the record of a new file or directory. Who creates a file that is
// there opens it.
func (n *node) made(r *powerloss.Record, kind powerloss.Kind, child *fs.Inode, name string, out *fuse.EntryOut) {
	if n.server.record == nil {
		return
	}
	if n.server.record.numbers[child.StableAttr()] != 0 {
		return
	}
	r.Kind, r.Node, r.In, r.Mode = kind, n.server.record.of(child), n.entry(name), out.Mode&0o7777
}

// note logs something that the model of a power loss does not know.
func (n *node) note(what string) syscall.Errno {
	return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
		r.Kind, r.Node, r.In = powerloss.Unknown, n.number(), powerloss.Entry{Name: what}
		return 0
	})
}

func (n *node) link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.server.record.change(func(r *powerloss.Record) syscall.Errno {
		child, errno = n.LoopbackNode.Link(ctx, target, name, out)
		if errno == 0 {
			r.Kind, r.Node, r.In = powerloss.Link, n.server.record.of(child), n.entry(name)
		}
		return errno
	})
	return child, errno
}

func (n *node) setattr(ctx context.Context, file fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
		r.Node = n.number()
		if size, ok := in.GetSize(); ok {
			r.Kind, r.Size = powerloss.Truncate, int64(size)
		} else if mode, ok := in.GetMode(); ok {
			r.Kind, r.Mode = powerloss.Chmod, mode&0o7777
		}
		return n.LoopbackNode.Setattr(ctx, file, in, out)
	})
}

func (n *node) allocate(ctx context.Context, file fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	if mode != 0 {
		if errno := n.note("fallocate with a mode"); errno != 0 {
			return errno
		}
	}
	return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
		r.Kind, r.Node, r.Offset, r.Size = powerloss.Allocate, n.number(), int64(off), int64(size)
		return file.(fs.FileAllocater).Allocate(ctx, off, size, mode)
	})
}

func (n *node) symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.note("symlink " + name); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Symlink(ctx, target, name, out)
}

func (n *node) mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.note("mknod " + name); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mknod(ctx, name, mode, dev, out)
}

func (n *node) setxattr(ctx context.Context, name string, data []byte, flags uint32) syscall.Errno {
	if errno := n.note("setxattr " + name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Setxattr(ctx, name, data, flags)
}

// CopyFileRange is left to the kernel, which reads and writes then.
func (n *node) CopyFileRange(ctx context.Context, in fs.FileHandle, inOff uint64, out *fs.Inode, to fs.FileHandle, outOff, size, flags uint64) (uint32, syscall.Errno) {
	if n.server.record != nil {
		return 0, syscall.ENOTSUP
	}
	return n.LoopbackNode.CopyFileRange(ctx, in, inOff, out, to, outOff, size, flags)
}
