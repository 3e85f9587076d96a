package slowfs

import (
	"context"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"capstan/internal/capstantest/powerloss"
)

// node is a file or directory of the mount: that of go-fuse's loopback, each
// operation led past the rules.
type node struct {
	*fs.LoopbackNode
	server *server
}

// root is the node of the directory below.
func (s *server) root(below string) (fs.InodeEmbedder, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(below, &st); err != nil {
		return nil, err
	}
	data := &fs.LoopbackRoot{Path: below, Dev: st.Dev}
	root := &node{&fs.LoopbackNode{RootData: data}, s}
	data.RootNode = root
	return root, nil
}

// WrapChild makes what go-fuse finds or creates below a node one of ours.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{child.(*fs.LoopbackNode), n.server}
}

// at is the path of the node, or of a name in it, relative to the mount.
func (n *node) at(name ...string) string {
	return path.Join(append([]string{n.Path(n.Root())}, name...)...)
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.server.do(Lookup, n.at(name), func() syscall.Errno {
		child, errno = n.LoopbackNode.Lookup(ctx, name, out)
		return errno
	})
	return child, errno
}

func (n *node) Open(ctx context.Context, flags uint32) (file fs.FileHandle, mode uint32, errno syscall.Errno) {
	errno = n.server.do(Open, n.at(), func() syscall.Errno {
		if flags&syscall.O_TRUNC == 0 {
			file, mode, errno = n.LoopbackNode.Open(ctx, flags)
			return errno
		}
		return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
			file, mode, errno = n.LoopbackNode.Open(ctx, flags)
			r.Kind, r.Node = powerloss.Truncate, n.number()
			return errno
		})
	})
	return file, mode, errno
}

func (n *node) Create(ctx context.Context, name string, flags, perm uint32, out *fuse.EntryOut) (child *fs.Inode, file fs.FileHandle, mode uint32, errno syscall.Errno) {
	errno = n.server.do(Create, n.at(name), func() syscall.Errno {
		return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
			child, file, mode, errno = n.LoopbackNode.Create(ctx, name, flags, perm, out)
			if errno == 0 {
				n.made(r, powerloss.Create, child, name, out)
			}
			return errno
		})
	})
	return child, file, mode, errno
}

func (n *node) Read(ctx context.Context, file fs.FileHandle, buf []byte, off int64) (result fuse.ReadResult, errno syscall.Errno) {
	errno = n.server.move(Read, n.at(), len(buf), func(int) syscall.Errno {
		result, errno = file.(fs.FileReader).Read(ctx, buf, off)
		return errno
	})
	return result, errno
}

func (n *node) Write(ctx context.Context, file fs.FileHandle, data []byte, off int64) (written uint32, errno syscall.Errno) {
	errno = n.server.move(Write, n.at(), len(data), func(size int) syscall.Errno {
		return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
			written, errno = file.(fs.FileWriter).Write(ctx, data[:size], off)
			r.Kind, r.Node, r.Offset, r.Data = powerloss.Write, n.number(), off, data[:written]
			return errno
		})
	})
	return written, errno
}

func (n *node) Fsync(ctx context.Context, file fs.FileHandle, flags uint32) syscall.Errno {
	return n.server.do(Sync, n.at(), func() syscall.Errno {
		return n.server.record.sync(powerloss.Sync, n, func() syscall.Errno { return file.(fs.FileFsyncer).Fsync(ctx, flags) })
	})
}

func (n *node) Flush(ctx context.Context, file fs.FileHandle) syscall.Errno {
	return n.server.do(Close, n.at(), func() syscall.Errno { return file.(fs.FileFlusher).Flush(ctx) })
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	p, ok := parent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	return n.server.do(Rename, p.at(newName), func() syscall.Errno {
		return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
			r.Kind, r.Node, r.In, r.To = powerloss.Rename, n.child(name), n.entry(name), p.entry(newName)
			if flags&unix.RENAME_EXCHANGE != 0 {
				r.Kind, r.Other = powerloss.Exchange, p.child(newName)
			}
			return n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
		})
	})
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.server.do(Unlink, n.at(name), func() syscall.Errno {
		return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
			r.Kind, r.Node, r.In = powerloss.Unlink, n.child(name), n.entry(name)
			return n.LoopbackNode.Unlink(ctx, name)
		})
	})
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.server.do(Mkdir, n.at(name), func() syscall.Errno {
		return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
			child, errno = n.LoopbackNode.Mkdir(ctx, name, mode, out)
			if errno == 0 {
				n.made(r, powerloss.Mkdir, child, name, out)
			}
			return errno
		})
	})
	return child, errno
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.server.do(Rmdir, n.at(name), func() syscall.Errno {
		return n.server.record.change(func(r *powerloss.Record) syscall.Errno {
			r.Kind, r.Node, r.In = powerloss.Unlink, n.child(name), n.entry(name)
			return n.LoopbackNode.Rmdir(ctx, name)
		})
	})
}

func (n *node) Getattr(ctx context.Context, file fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.server.do(Stat, n.at(), func() syscall.Errno { return n.LoopbackNode.Getattr(ctx, file, out) })
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (file fs.FileHandle, mode uint32, errno syscall.Errno) {
	errno = n.server.do(List, n.at(), func() syscall.Errno {
		file, mode, errno = n.LoopbackNode.OpendirHandle(ctx, flags)
		if stream, ok := file.(dirStream); ok {
			file = &dirHandle{stream, n}
		}
		return errno
	})
	return file, mode, errno
}

// dirStream is what go-fuse asks of an open directory.
type dirStream interface {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
	fs.FileFsyncdirer
}

// dirHandle is an open directory.
type dirHandle struct {
	dirStream
	node *node
}

func (d *dirHandle) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return d.node.server.do(SyncDir, d.node.at(), func() syscall.Errno {
		return d.node.server.record.sync(powerloss.SyncDir, d.node, func() syscall.Errno { return d.dirStream.Fsyncdir(ctx, flags) })
	})
}

func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	return n.server.do(Free, n.at(), func() syscall.Errno { return n.LoopbackNode.Statfs(ctx, out) })
}
