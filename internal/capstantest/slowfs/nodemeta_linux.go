package slowfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Readdirent gives the next name of an open directory.
func (d *dirHandle) Readdirent(ctx context.Context) (entry *fuse.DirEntry, errno syscall.Errno) {
	errno = d.node.server.do(Readdir, d.node.at(), func() syscall.Errno {
		entry, errno = d.dirStream.Readdirent(ctx)
		return errno
	})
	return entry, errno
}

func (n *node) Setattr(ctx context.Context, file fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	op := Setattr
	if _, resized := in.GetSize(); resized {
		op = Resize
	}
	return n.server.do(op, n.at(), func() syscall.Errno { return n.setattr(ctx, file, in, out) })
}

func (n *node) Allocate(ctx context.Context, file fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	return n.server.do(Allocate, n.at(), func() syscall.Errno { return n.allocate(ctx, file, off, size, mode) })
}

func (n *node) Lseek(ctx context.Context, file fs.FileHandle, off uint64, whence uint32) (to uint64, errno syscall.Errno) {
	errno = n.server.do(Seek, n.at(), func() syscall.Errno {
		to, errno = file.(fs.FileLseeker).Lseek(ctx, off, whence)
		return errno
	})
	return to, errno
}

func (n *node) Setxattr(ctx context.Context, attr string, data []byte, flags uint32) syscall.Errno {
	return n.server.do(Setxattr, n.at(), func() syscall.Errno { return n.setxattr(ctx, attr, data, flags) })
}

func (n *node) Getxattr(ctx context.Context, attr string, dest []byte) (size uint32, errno syscall.Errno) {
	errno = n.server.do(Getxattr, n.at(), func() syscall.Errno {
		size, errno = n.LoopbackNode.Getxattr(ctx, attr, dest)
		return errno
	})
	return size, errno
}

func (n *node) Listxattr(ctx context.Context, dest []byte) (size uint32, errno syscall.Errno) {
	errno = n.server.do(Getxattr, n.at(), func() syscall.Errno {
		size, errno = n.LoopbackNode.Listxattr(ctx, dest)
		return errno
	})
	return size, errno
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.server.do(Symlink, n.at(name), func() syscall.Errno {
		child, errno = n.symlink(ctx, target, name, out)
		return errno
	})
	return child, errno
}

func (n *node) Readlink(ctx context.Context) (target []byte, errno syscall.Errno) {
	errno = n.server.do(Readlink, n.at(), func() syscall.Errno {
		target, errno = n.LoopbackNode.Readlink(ctx)
		return errno
	})
	return target, errno
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.server.do(Link, n.at(name), func() syscall.Errno {
		child, errno = n.link(ctx, target, name, out)
		return errno
	})
	return child, errno
}

func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (child *fs.Inode, errno syscall.Errno) {
	errno = n.server.do(Mknod, n.at(name), func() syscall.Errno {
		child, errno = n.mknod(ctx, name, mode, dev, out)
		return errno
	})
	return child, errno
}
