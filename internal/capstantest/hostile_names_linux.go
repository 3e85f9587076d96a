package capstantest

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// contents has sizes at the edges of tar blocks, buffers and frames.
func (b *builder) contents() {
	b.dir("contents", 0o755)
	for _, size := range []int{0, 1, 511, 512, 513, 4095, 4096, 10240, 65536, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20} {
		b.file(fmt.Sprintf("contents/noise-%d", size), noise(size, 1), 0o644)
	}
	b.file("contents/zeros-not-sparse", make([]byte, 100_000), 0o644)
	b.file("contents/text-3M", text(3<<20), 0o644)
	b.file("contents/text-4M-exactly", text(4<<20), 0o640)
	b.file("contents/noise-5M", noise(5<<20+17, 2), 0o600)
	b.dir("many", 0o755)
	for i := range 300 {
		b.file(fmt.Sprintf("many/%03d", i), text(i*7), 0o644)
	}
}

// names has what a name may hold: any byte but slash and zero.
func (b *builder) names() {
	b.dir("names", 0o755)
	for i, name := range []string{
		"with space", " leading space", "trailing space ", "new\nline", "tab\there", "-rf", "--checkpoint-action=exec=id",
		"it's", `double"quote`, "`tick`", "$HOME", "back\\slash", "semi;colon", "a=b", "=", "*", "?", "[x]", "#hash", "~", "%41", "|", "&",
		"\xc3\xbcml\xc3\xa4ut", "u\xcc\x88 decomposed", "\xe6\xbc\xa2\xe5\xad\x97", "\xf0\x9f\x92\xbe", "\xe2\x80\xae right-to-left",
		"\xff\xfe", "latin1-\xe4\xf6\xfc", "half a rune \xe6\xbc", "\x01\x02\x7f", "\x1b[31mred", "carriage\rreturn",
		"...", ".hidden", "..hidden", "trailing.dot.", "CON", "nul.txt", "a:b", "@LongLink", "PaxHeaders.0", ".wh.whiteout",
		strings.Repeat("n", 255), strings.Repeat("\xe6\xbc\xa2", 85),
	} {
		b.file("names/"+name, []byte(name), 0o644)
		if i%5 == 0 {
			b.dir("names/dir "+name[:min(len(name), 200)], 0o755)
			b.file("names/dir "+name[:min(len(name), 200)]+"/"+name, nil, 0o644)
		}
	}
}

// order has names that sort otherwise as plain strings than as paths.
func (b *builder) order() {
	b.dir("order", 0o755)
	for _, dir := range []string{"order/a", "order/a/b", "order/a-b", "order/a.b", "order/a b", "order/a/b/c", "order/B", "order/ab"} {
		b.dir(dir, 0o755)
		b.file(dir+"/file", []byte(dir), 0o644)
		b.file(dir+"/file-2", []byte(dir), 0o644)
	}
	b.file("order/a!", nil, 0o644)
	b.file("order/a0", nil, 0o644)
	b.file("order/\x01", nil, 0o644)
	b.file("order/\xff", nil, 0o644)
}

// tarNames has lengths at which tar headers change their form.
func (b *builder) tarNames() {
	b.dir("tar", 0o755)
	for _, length := range []int{98, 99, 100, 101, 154, 155, 156, 254, 255} {
		name := fmt.Sprintf("%d-", length)
		name += strings.Repeat("x", length-len(name))
		b.file("tar/"+name, []byte(name), 0o644)
		b.dir("tar/d"+name[:length-1], 0o755)
		b.file("tar/d"+name[:length-1]+"/f"+name[:length-1], []byte(name), 0o644)
		b.symlink("tar/s"+name[:length-1], name)
	}
	b.file("tar/trailing spaces   ", []byte("spaces"), 0o644)
}

// longPaths goes below PATH_MAX, where only calls relative to a directory reach.
func (b *builder) longPaths() {
	b.dir("long", 0o755)
	at, err := unix.Open(b.path("long"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	b.check(err)
	fds := []int{at}
	name := func(level int) string {
		prefix := fmt.Sprintf("level %02d ", level)
		return prefix + strings.Repeat("p", 240-len(prefix))
	}
	const levels = 20
	for level := range levels {
		b.check(unix.Mkdirat(at, name(level), 0o755))
		at, err = unix.Openat(at, name(level), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		b.check(err)
		fds = append(fds, at)
	}
	b.fillAt(at)
	b.check(unix.Linkat(at, "file", fds[2], "link to the end", 0))
	for level := levels; level >= 0; level-- {
		if level > 0 {
			b.touchAt(fds[level-1], name(level-1))
		}
		b.check(unix.Close(fds[level]))
	}
}

// fillAt puts one of everything into a directory that has no usable path.
func (b *builder) fillAt(dir int) {
	fd, err := unix.Openat(dir, "file", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o640)
	b.check(err)
	_, err = unix.Write(fd, []byte("a file at the end of a long path"))
	b.check(err)
	b.optional("xattrs", unix.Fsetxattr(fd, "user.deep", []byte("value"), 0))
	b.check(unix.Close(fd))
	b.check(unix.Symlinkat(strings.Repeat("../", 30)+"contents", dir, "symlink"))
	b.check(unix.Mkdirat(dir, "empty", 0o700))
	b.check(unix.Mknodat(dir, "fifo", unix.S_IFIFO|0o600, 0))
	for _, name := range []string{"file", "symlink", "empty", "fifo"} {
		b.touchAt(dir, name)
	}
}

func (b *builder) touchAt(dir int, name string) {
	at, err := unix.TimeToTimespec(b.tick())
	b.check(err)
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}
	b.check(unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW))
}
