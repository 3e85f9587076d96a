package capstantest

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// links has symlinks that lead everywhere and a file with names in three directories.
func (b *builder) links() {
	b.dir("links", 0o755)
	for name, target := range sorted(map[string]string{
		"dangling": "no/such/file", "absolute": "/etc/passwd", "to-dir": "../contents", "to-itself": "to-itself",
		"up": "../../../../../../..", "to-file": "../contents/noise-1", "odd": "new\nline \xff 'quoted'", "space ": " ",
		"at-100": strings.Repeat("y", 100), "at-101": strings.Repeat("y", 101),
	}) {
		b.symlink("links/"+name, target)
	}
	target := strings.Repeat("long/", 800)
	if err := os.Symlink(target, b.path("links/long")); errors.Is(err, unix.ENAMETOOLONG) {
		b.symlink("links/long", target[:1000]) // XFS has no longer ones
	} else {
		b.check(err)
		b.touch("links/long", b.tick())
	}
	for _, dir := range []string{"links/a", "links/a/deeper", "links/z"} {
		b.dir(dir, 0o755)
	}
	b.file("links/a/first", noise(300_000, 3), 0o4711)
	b.check(os.Link(b.path("links/a/first"), b.path("links/a/deeper/second")))
	b.check(os.Link(b.path("links/a/first"), b.path("links/z/third")))
	b.file("links/a/empty-1", nil, 0o644)
	b.check(os.Link(b.path("links/a/empty-1"), b.path("links/a/empty-2")))
}

// sparse has holes in every place, also where nothing is aligned.
func (b *builder) sparse() {
	b.dir("sparse", 0o755)
	type piece struct{ offset, length int64 }
	many := make([]piece, 200)
	for i := range many {
		many[i] = piece{int64(i) * 65536, 4096}
	}
	for _, f := range []struct {
		name string
		size int64
		data []piece
	}{
		{"hole-at-start", 1<<20 + 65536, []piece{{1 << 20, 65536}}},
		{"hole-in-middle", 3 << 20, []piece{{0, 100_000}, {2 << 20, 1 << 20}}},
		{"hole-at-end", 2 << 20, []piece{{0, 50_000}}},
		{"hole-at-both-ends", 2<<20 + 5, []piece{{1 << 20, 7}}},
		{"all-hole", 5 << 20, nil},
		{"odd-offsets", 1_000_003, []piece{{1, 1}, {300_001, 99}, {700_000, 4097}, {1_000_002, 1}}},
		{"many-extents", 200*65536 + 1, many},
		{"beyond-8-GiB", 20 << 30, []piece{{0, 4096}, {10 << 30, 4096}, {20<<30 - 1, 1}}},
	} {
		rel := "sparse/" + f.name
		file, err := os.OpenFile(b.path(rel), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		b.check(err)
		b.check(file.Truncate(f.size))
		for _, p := range f.data {
			_, err := file.WriteAt(noise(int(p.length), uint64(p.offset)), p.offset)
			b.check(err)
		}
		// Written out now, so that every later look at the holes sees the same.
		b.check(file.Sync())
		b.check(file.Close())
		b.touch(rel, b.tick())
	}
}

// modes has all the special bits, and files that nobody may read.
func (b *builder) modes() {
	b.dir("modes", 0o755)
	for name, mode := range sorted(map[string]uint32{
		"setuid": 0o4755, "setgid": 0o2755, "both": 0o6711, "sticky": 0o1644, "none": 0, "write-only": 0o222,
		"execute-only": 0o111, "read-only": 0o444, "all": 0o7777, "group": 0o060, "others": 0o006,
	}) {
		b.file("modes/"+name, []byte(name), mode)
		b.dir("modes/dir-"+name, mode)
		b.file("modes/dir-"+name+"/inside", []byte("inside "+name), 0o644)
	}
}

// owners has ids that no machine knows, with bits that a change of owner clears.
func (b *builder) owners() {
	if !b.asRoot {
		return
	}
	b.dir("owners", 0o755)
	b.dir("owners/dir", 0o2775)
	b.check(os.Lchown(b.path("owners/dir"), 1234, 5678))
	for name, mode := range sorted(map[string]uint32{"plain": 0o644, "setuid": 0o4755, "setgid": 0o2755, "both": 0o6755, "secret": 0o600, "none": 0}) {
		b.file("owners/"+name, []byte(name), 0o600)
		b.check(os.Lchown(b.path("owners/"+name), 1234, 5678))
		b.check(unix.Chmod(b.path("owners/"+name), mode))
		b.touch("owners/"+name, b.tick())
		b.file("owners/dir/"+name, []byte(name), mode)
	}
	b.file("owners/large-ids", nil, 0o644)
	large := [2]uint32{3_000_000_000, 4_000_000_000}
	b.check(os.Lchown(b.path("owners/large-ids"), int(large[0]), int(large[1])))
	b.touch("owners/large-ids", b.tick())
	b.symlink("owners/symlink", "plain")
	b.check(os.Lchown(b.path("owners/symlink"), 1234, 5678))
	b.touch("owners/symlink", b.tick())
}

// special has fifos, sockets and, for root, devices that lead to nothing much.
func (b *builder) special() {
	b.dir("special", 0o755)
	b.node("fifo", unix.S_IFIFO|0o622, 0, 0)
	b.node("fifo-secret", unix.S_IFIFO|0o600, 0, 0)
	b.node("socket", unix.S_IFSOCK|0o755, 0, 0)
	if !b.asRoot {
		return
	}
	b.check(os.Lchown(b.path("special/fifo"), 1234, 5678))
	b.touch("special/fifo", b.tick())
	b.node("null", unix.S_IFCHR|0o666, 1, 3)
	b.node("zero-zero", unix.S_IFCHR|0o600, 0, 0)
	b.node("large-numbers", unix.S_IFCHR|0o644, 511, 250_000)
	b.node("block", unix.S_IFBLK|0o660, 7, 200)
	b.node("block-large", unix.S_IFBLK|0o640, 259, 200_000)
}

func (b *builder) node(name string, mode, major, minor uint32) {
	rel := "special/" + name
	b.check(unix.Mknod(b.path(rel), mode, int(unix.Mkdev(major, minor))))
	b.check(unix.Chmod(b.path(rel), mode&0o7777))
	b.touch(rel, b.tick())
}
