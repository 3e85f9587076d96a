package capstantest

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// attributes has xattrs of every namespace and of every form of value.
func (b *builder) attributes() {
	b.dir("xattrs", 0o755)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	b.file("xattrs/file", []byte("content"), 0o644)
	b.dir("xattrs/dir", 0o750)
	for _, rel := range []string{"xattrs/file", "xattrs/dir"} {
		b.xattr(rel, "user.text", []byte("value"))
		b.xattr(rel, "user.empty", nil)
		b.xattr(rel, "user.binary", all)
		b.xattr(rel, "user.with=equals", []byte("a=b\n"))
		b.xattr(rel, "user.na me", []byte("space"))
		b.xattr(rel, "user.large", noise(1500, 4))
	}
	b.file("xattrs/read-only", nil, 0o644)
	b.xattr("xattrs/read-only", "user.text", []byte("value"))
	b.check(unix.Chmod(b.path("xattrs/read-only"), 0o444))
	b.file("xattrs/large-file", noise(600_000, 5), 0o600)
	b.xattr("xattrs/large-file", "user.text", []byte("value"))
	if !b.asRoot {
		return
	}
	b.xattr("xattrs/file", "trusted.text", []byte("value"))
	b.xattr("xattrs/dir", "trusted.\xff", []byte{0})
	b.xattr("xattrs/file", "security.test", []byte("label"))
	b.symlink("xattrs/symlink", "file")
	b.xattr("xattrs/symlink", "trusted.link", []byte("of the symlink itself"))
	b.check(unix.Mkfifo(b.path("xattrs/fifo"), 0o600))
	b.xattr("xattrs/fifo", "trusted.fifo", []byte("of the fifo"))

	// Capability net_bind_service, permitted and effective, as in vfs_cap_data
	// of include/uapi/linux/capability.h, revision 2.
	capability := make([]byte, 20)
	binary.LittleEndian.PutUint32(capability, 0x02000001)
	binary.LittleEndian.PutUint32(capability[4:], 1<<10)
	b.file("xattrs/capable", []byte("#!/bin/true\n"), 0o755)
	b.check(unix.Lchown(b.path("xattrs/capable"), 1234, 5678))
	b.xattr("xattrs/capable", "security.capability", capability)
}

func (b *builder) xattr(rel, name string, value []byte) {
	b.tb.Helper()
	b.optional("xattr "+name, unix.Lsetxattr(b.path(rel), name, value, 0))
	for _, d := range b.dirs {
		if d.path == rel {
			return // it gets its time at the end
		}
	}
	b.touch(rel, b.tick())
}

// acls has access and default ACLs, and files that lie in a directory with a
// default ACL without having inherited it.
func (b *builder) acls() {
	b.dir("acls", 0o755)
	const (
		owner, user, group, namedGroup, mask, other = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
		none                                        = 0xffffffff
	)
	full := []uint32{
		owner, 7, none, user, 5, 1000, user, 0, 1234, group, 4, none,
		namedGroup, 6, 5678, mask, 7, none, other, 0, none,
	}
	narrow := []uint32{owner, 6, none, user, 6, 1000, group, 0, none, mask, 6, none, other, 0, none}
	plain := []uint32{owner, 7, none, group, 5, none, other, 5, none}

	b.file("acls/full", []byte("acl"), 0o600)
	b.xattr("acls/full", "system.posix_acl_access", encodeACL(full))
	b.file("acls/narrow", []byte("acl"), 0o600)
	b.xattr("acls/narrow", "system.posix_acl_access", encodeACL(narrow))

	b.dir("acls/dir", 0o770)
	b.dir("acls/dir/sub", 0o755)
	b.file("acls/dir/file", []byte("without"), 0o664)
	b.file("acls/dir/with", []byte("with"), 0o664)
	b.check(unix.Mkfifo(b.path("acls/dir/fifo"), 0o640))
	b.touch("acls/dir/fifo", b.tick())
	b.xattr("acls/dir/with", "system.posix_acl_access", encodeACL(narrow))
	b.xattr("acls/dir", "system.posix_acl_access", encodeACL(full))
	b.xattr("acls/dir", "system.posix_acl_default", encodeACL(full))
	b.dir("acls/default-only", 0o755)
	b.xattr("acls/default-only", "system.posix_acl_default", encodeACL(plain))
}

// encodeACL writes triples of tag, permissions and id as the kernel takes them.
func encodeACL(triples []uint32) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 2)
	for i := 0; i < len(triples); i += 3 {
		out = binary.LittleEndian.AppendUint16(out, uint16(triples[i]))
		out = binary.LittleEndian.AppendUint16(out, uint16(triples[i+1]))
		out = binary.LittleEndian.AppendUint32(out, triples[i+2])
	}
	return out
}

// times has moments that are negative, fractional, or far away. What the
// filesystem cannot hold it changes at once, so the tree shows what it can.
func (b *builder) times() {
	b.dir("times", 0o755)
	for name, mtime := range sorted(map[string]time.Time{
		"1905": time.Date(1905, 6, 7, 8, 9, 10, 111_111_111, time.UTC), "1960": time.Date(1960, 1, 1, 0, 0, 0, 999_999_999, time.UTC),
		"just-before-1970": time.Unix(-1, 500_000_000), "1970": time.Unix(0, 0), "1970-and-1ns": time.Unix(0, 1),
		"whole-second": time.Unix(1_500_000_000, 0), "last-of-32-bits": time.Unix(1<<31-1, 999_999_999), "2038": time.Unix(1<<31, 1),
		"2106": time.Unix(1<<32, 7), "2300": time.Date(2300, 2, 3, 4, 5, 6, 123_456_789, time.UTC),
	}) {
		b.file("times/"+name, []byte(name), 0o644)
		b.touch("times/"+name, mtime)
		b.symlink("times/symlink-"+name, name)
		b.touch("times/symlink-"+name, mtime)
		b.dir("times/dir-"+name, 0o755)
		b.dirs[len(b.dirs)-1].mtime = mtime
		b.file("times/dir-"+name+"/file", nil, 0o644)
	}
}

// directories has empty ones, nested ones, and ones that may not be written.
func (b *builder) directories() {
	b.dir("dirs", 0o755)
	b.dir("dirs/empty", 0o755)
	b.dir("dirs/empty-secret", 0o700)
	b.dir("dirs/read-only", 0o555)
	b.dir("dirs/read-only/below", 0o555)
	b.file("dirs/read-only/file", []byte("read-only"), 0o444)
	b.file("dirs/read-only/below/file", []byte("read-only"), 0o444)
	b.symlink("dirs/read-only/symlink", "file")
	b.dir("dirs/drop-box", 0o1733)
	b.file("dirs/drop-box/file", []byte("dropped"), 0o600)
	const nested = "dirs/n/e/s/t/e/d/-/d/e/e/p"
	for i := len("dirs/n"); i <= len(nested); i += len("/e") {
		b.dir(nested[:i], 0o755)
	}
	b.file(nested+"/file", []byte("nested"), 0o644)
}
