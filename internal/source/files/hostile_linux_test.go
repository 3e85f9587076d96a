package files

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
)

func setXattr(t *testing.T, path, name, value string) {
	t.Helper()
	must(t, unix.Lsetxattr(path, name, []byte(value), 0))
}

func setACL(t *testing.T, path string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "setfacl", append(args, path)...).CombinedOutput(); err != nil {
		t.Fatalf("setfacl: %v %s", err, out)
	}
}

// hostile builds one entry of every sort.
func hostile(t *testing.T) string {
	t.Helper()
	root := tree(t, map[string]string{
		"empty": "", "exact": strings.Repeat("e", smallContent), "large": strings.Repeat("large", 40000), "emptydir/": "",
		"setuid": "#!", "new\nline": "n", "non\xff\xfeutf8": "u", "tab\tand space ": "t", "-rf": "d", "acl": "a", "attrs": "x",
		"dir/first": "linked", "quiet": "q",
	})
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.Chown(at("setuid"), 1, 2))
	must(t, unix.Chmod(at("setuid"), 0o6751))
	must(t, unix.Chmod(at("emptydir"), 0o1777))
	must(t, os.Symlink("../no\xffwhere\n", at("symlink")))
	must(t, os.Symlink(strings.Repeat("long/", 800), at("longlink")))
	must(t, os.Lchown(at("symlink"), 33, 33))
	setXattr(t, at("symlink"), "trusted.link", "on the link")
	must(t, unix.Mkfifo(at("fifo"), 0o640))
	must(t, unix.Mknod(at("char"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(at("block"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
	setXattr(t, at("char"), "trusted.dev", "d")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", at("socket"))
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })

	setXattr(t, at("attrs"), "user.b=c", "with\x00zero")
	setXattr(t, at("attrs"), "user.a", "")
	setXattr(t, at("attrs"), "trusted.t", "t")
	setXattr(t, at("attrs"), "security.s", strings.Repeat("s", 2000))
	setXattr(t, at("attrs"), "user."+strings.Repeat("n", 200), "1")
	setXattr(t, at("attrs"), "user."+strings.Repeat("m", 200), "2")
	setXattr(t, at("attrs"), "user."+strings.Repeat("o", 200), "3") // the list exceeds 512 bytes
	setXattr(t, at("emptydir"), "user.dir", "d")
	setACL(t, at("acl"), "-m", "u:1000:r-x,u:7:---,g:50:w,m::rwx")
	setACL(t, at("emptydir"), "-d", "-m", "u:1000:rwx")
	setACL(t, at("dir"), "-d", "-m", "u::rwx,g::r-x,o::-")

	must(t, os.Link(at("dir/first"), at("dir/second")))
	must(t, os.Link(at("dir/first"), at("zlink")))
	sparse(t, at("sparse"), 10<<20, map[int64]string{0: "head", 4 << 20: strings.Repeat("m", 5000)})
	sparse(t, at("sparse-large"), 1<<30, map[int64]string{1 << 20: strings.Repeat("L", 300000)})
	sparse(t, at("hole"), 1<<40, nil)

	old := unix.NsecToTimespec(-987654321123456789)
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, at("quiet"), []unix.Timespec{old, old}, 0))
	return root
}

func sparse(t *testing.T, path string, size int64, data map[int64]string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(size))
	for at, text := range data {
		_, err := f.WriteAt([]byte(text), at)
		must(t, err)
	}
	must(t, f.Close())
}

func TestHostileTree(t *testing.T) {
	t.Parallel()
	root := hostile(t)
	all := collect(t, open(t, root, Options{Memory: capstan.MiB}), nil)
	want := 1
	must(t, filepath.WalkDir(root, func(string, os.DirEntry, error) error { want++; return nil }))
	if len(all) != want-1 {
		t.Errorf("%d entries emitted, %d are there", len(all), want-1)
	}
	for _, g := range all {
		if g.Host != root+strings.TrimPrefix(g.Path, "data") {
			t.Errorf("%q: host %q", g.Path, g.Host)
		}
		if g.Kind == capstan.KindSocket {
			continue
		}
		if g.Outcome != capstan.OutcomeStored || g.Reason != "" {
			t.Errorf("%q: %s: %s", g.Path, g.Outcome, g.Reason)
		}
		checkStat(t, &g)
		if g.Kind == capstan.KindFile && !g.Sparse {
			content, err := os.ReadFile(g.Host)
			must(t, err)
			if !bytes.Equal(content, g.content) || g.err != nil || g.drift != "" {
				t.Errorf("%q: content differs (%v, %s)", g.Path, g.err, g.drift)
			}
		}
	}
	get := func(name string) got { return byPath(t, all, "data/"+name) }
	if g := get("socket"); g.Outcome != capstan.OutcomeExcluded || g.Reason != "socket" || g.Kind != capstan.KindSocket {
		t.Errorf("socket: %s %s %s", g.Kind, g.Outcome, g.Reason)
	}
	if g := get("setuid"); g.Mode != 0o6751 || g.UID != 1 || g.User != "daemon" || g.GID != 2 || g.Group != "bin" {
		t.Errorf("setuid: %o %d %s %d %s", g.Mode, g.UID, g.User, g.GID, g.Group)
	}
	if g := get("symlink"); g.Link != "../no\xffwhere\n" || g.User != "www-data" || len(g.Xattrs) != 1 || g.Size != 0 {
		t.Errorf("symlink: %q %v", g.Link, g.Xattrs)
	}
	if g := get("longlink"); len(g.Link) != 4000 {
		t.Errorf("a link of %d bytes", len(g.Link))
	}
	if g := get("block"); g.Kind != capstan.KindBlkDevice || g.Major != 259 || g.Minor != 70000 {
		t.Errorf("block: %s %d:%d", g.Kind, g.Major, g.Minor)
	}
	if g := get("char"); g.Kind != capstan.KindCharDevice || g.Major != 1 || g.Minor != 3 || len(g.Xattrs) != 1 {
		t.Errorf("char: %s %d:%d %v", g.Kind, g.Major, g.Minor, g.Xattrs)
	}
	if g := get("quiet"); g.ModTime.UnixNano() != -987654321123456789 {
		t.Errorf("mtime %d", g.ModTime.UnixNano())
	}
	if g := get("large"); g.content == nil || !g.Hash.IsZero() {
		t.Error("large came without content, or with a hash")
	}
	checkAttributes(t, get)
	checkLinks(t, get)
	checkSparse(t, get)
}

// checkStat compares with what package syscall says.
func checkStat(t *testing.T, g *got) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(g.Host, &st))
	if g.Mode != st.Mode&0o7777 || g.UID != st.Uid || g.GID != st.Gid || g.Ino != st.Ino || g.Dev != st.Dev || uint64(g.Links) != uint64(st.Nlink) ||
		!g.ModTime.Equal(time.Unix(st.Mtim.Unix())) || !g.ChangeTime.Equal(time.Unix(st.Ctim.Unix())) {
		t.Errorf("%q: %+v differs from %+v", g.Path, g.Entry, st)
	}
	if g.Kind == capstan.KindFile && g.Size != st.Size || g.Kind != capstan.KindFile && g.Size != 0 {
		t.Errorf("%q: size %d", g.Path, g.Size)
	}
}

func checkAttributes(t *testing.T, get func(string) got) {
	t.Helper()
	var names []string
	for _, x := range get("attrs").Xattrs {
		names = append(names, x.Name)
		if x.Name == "user.b=c" && string(x.Value) != "with\x00zero" || x.Name == "user.a" && len(x.Value) != 0 ||
			x.Name == "security.s" && len(x.Value) != 2000 {
			t.Errorf("%s = %q", x.Name, x.Value)
		}
	}
	if len(names) != 7 || !slices.IsSorted(names) {
		t.Errorf("attributes %q", names)
	}
	acls := []struct{ name, access, inherited string }{
		{"acl", "user::rw-,user:7:---,user:1000:r-x,group::r--,group:50:-w-,mask::rwx,other::r--", ""},
		{"emptydir", "", "user::rwx,user:1000:rwx,group::rwx,mask::rwx,other::rwx"},
		{"dir", "", "user::rwx,group::r-x,other::---"},
		{"attrs", "", ""},
	}
	for _, want := range acls {
		if g := get(want.name); g.ACL != want.access || g.DefaultACL != want.inherited {
			t.Errorf("%s: %q, %q", want.name, g.ACL, g.DefaultACL)
		}
	}
	if g := get("acl"); len(g.Xattrs) != 0 {
		t.Errorf("the ACL is among the attributes: %v", g.Xattrs)
	}
	if g := get("emptydir"); len(g.Xattrs) != 1 || g.Xattrs[0].Name != "user.dir" {
		t.Errorf("emptydir: %v", g.Xattrs)
	}
}

func checkLinks(t *testing.T, get func(string) got) {
	t.Helper()
	if g := get("dir/first"); g.Kind != capstan.KindFile || string(g.content) != "linked" || g.Links != 3 {
		t.Errorf("the first name: %s %q", g.Kind, g.content)
	}
	for _, name := range []string{"dir/second", "zlink"} {
		if g := get(name); g.Kind != capstan.KindHardlink || g.Link != "data/dir/first" || g.content != nil || !g.Hash.IsZero() {
			t.Errorf("%s: %s to %q", name, g.Kind, g.Link)
		}
	}
}

func checkSparse(t *testing.T, get func(string) got) {
	t.Helper()
	for name, content := range map[string]string{
		"sparse":       "head",
		"sparse-large": strings.Repeat("L", 300000),
		"hole":         "",
	} {
		g := get(name)
		var joined []byte
		f, err := os.Open(g.Host)
		must(t, err)
		for i, x := range g.Data {
			part := make([]byte, x.Length)
			_, err := f.ReadAt(part, x.Offset)
			must(t, err)
			joined = append(joined, part...)
			if i > 0 && x.Offset <= g.Data[i-1].Offset+g.Data[i-1].Length {
				t.Errorf("%s: %v", name, g.Data)
			}
		}
		must(t, f.Close())
		if !g.Sparse || !bytes.Equal(joined, g.content) || !bytes.Contains(g.content, []byte(content)) || len(g.content) > 400000 {
			t.Errorf("%s: sparse %v, %d bytes in %v", name, g.Sparse, len(g.content), g.Data)
		}
	}
	if g := get("hole"); g.Data != nil || g.Size != 1<<40 || g.Hash.IsZero() {
		t.Errorf("hole: %d %v", g.Size, g.Data)
	}
}

// deepTree makes a directory path of more than 4096 bytes with a file before and
// one after each subdirectory.
func deepTree(t *testing.T, levels int) (root string, files int) {
	t.Helper()
	root = tree(t, nil)
	at, err := openFolder(root)
	must(t, err)
	name := "m" + strings.Repeat("-", 99)
	for range levels {
		for _, file := range []string{"a", "z"} {
			fd, err := unix.Openat(at.fd, file, unix.O_CREAT|unix.O_WRONLY, 0o600)
			must(t, err)
			_, err = unix.Write(fd, []byte("content"))
			must(t, err)
			must(t, unix.Close(fd))
		}
		must(t, unix.Mkdirat(at.fd, name, 0o700))
		next, err := at.sub(name)
		must(t, err)
		at.release()
		at = next
	}
	must(t, unix.Symlinkat("target", at.fd, "link"))
	must(t, unix.Mknodat(at.fd, "dev", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	fd, err := unix.Openat(at.fd, "large", unix.O_CREAT|unix.O_WRONLY, 0o600)
	must(t, err)
	_, err = unix.Write(fd, bytes.Repeat([]byte("x"), 100000))
	must(t, err)
	must(t, unix.Close(fd))
	at.release()
	return root, 2 * levels
}

func TestLongPaths(t *testing.T) {
	t.Parallel()
	root, files := deepTree(t, 130)
	s := open(t, root, Options{Excludes: []string{"nothing"}})
	all := collect(t, s, nil)
	if len(all) != 1+130+files+3 {
		t.Fatalf("%d entries", len(all))
	}
	deepest := 0
	for _, g := range all {
		deepest = max(deepest, len(g.Path))
		if g.Outcome != capstan.OutcomeStored || g.Kind == capstan.KindFile && len(g.content) != 7 && len(g.content) != 100000 {
			t.Fatalf("%d bytes long: %s %s %v", len(g.Path), g.Outcome, g.Reason, g.err)
		}
	}
	if deepest < 3*4096 {
		t.Errorf("the deepest path has %d bytes", deepest)
	}
	again := collect(t, s, keep(all))
	for _, g := range again {
		if g.Outcome != capstan.OutcomeUnchanged {
			t.Fatalf("%d bytes long: %s %s", len(g.Path), g.Outcome, g.Reason)
		}
	}
}
