//go:build linux

package tarfile

import (
	"bytes"
	"errors"
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

// extractors are the commands that restore an archive on standard input.
func extractors() map[string][]string {
	return map[string][]string{
		"GNU tar": {"tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf", "-"},
		"bsdtar":  {"bsdtar", "--numeric-owner", "-xpf", "-"},
	}
}

// Both stock programs extract every entry as it was, without a word of
// complaint that is not about a time that they find odd.
func TestStockExtraction(t *testing.T) {
	t.Parallel()
	all := members()
	archive := pack(t, all)
	for tool, command := range extractors() {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], "-C", dir)...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			cmd.Stdin = bytes.NewReader(archive)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v", err)
			}
			for line := range strings.Lines(string(out)) {
				if !strings.Contains(line, "time stamp") {
					t.Errorf("it says: %s", line)
				}
			}
			for _, m := range all {
				compare(t, tool, dir, m)
			}
		})
	}
}

// compare checks an extracted entry.
func compare(t *testing.T, tool, dir string, m member) {
	t.Helper()
	e := &m.entry
	path := filepath.Join(dir, e.Path)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Errorf("%q: %v", e.Path, err)
		return
	}
	kinds := map[capstan.EntryKind]uint32{
		capstan.KindFile: unix.S_IFREG, capstan.KindHardlink: unix.S_IFREG, capstan.KindDir: unix.S_IFDIR, capstan.KindSymlink: unix.S_IFLNK,
		capstan.KindFifo: unix.S_IFIFO, capstan.KindCharDevice: unix.S_IFCHR, capstan.KindBlkDevice: unix.S_IFBLK,
	}
	if st.Mode&unix.S_IFMT != kinds[e.Kind] {
		t.Errorf("%q: has the mode %o", e.Path, st.Mode)
		return
	}
	if e.Kind == capstan.KindHardlink {
		var first unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, e.Link), &first); err != nil || first.Ino != st.Ino {
			t.Errorf("%q: is no link to %q: %v", e.Path, e.Link, err)
		}
		return
	}
	if st.Uid != e.UID || st.Gid != e.GID || (st.Mode&0o7777 != e.Mode && e.Kind != capstan.KindSymlink) {
		t.Errorf("%q: has %o %d:%d instead of %o %d:%d", e.Path, st.Mode&0o7777, st.Uid, st.Gid, e.Mode, e.UID, e.GID)
	}
	// bsdtar takes the seconds of a negative time as whole: -1.5 becomes -0.5.
	odd := tool == "bsdtar" && e.ModTime.Unix() < 0 && e.ModTime.Nanosecond() != 0
	if !odd && !time.Unix(st.Mtim.Unix()).Equal(e.ModTime) {
		t.Errorf("%q: has the time %d.%09d instead of %v", e.Path, st.Mtim.Sec, st.Mtim.Nsec, e.ModTime)
	}
	if e.Kind == capstan.KindCharDevice || e.Kind == capstan.KindBlkDevice {
		if unix.Major(st.Rdev) != e.Major || unix.Minor(st.Rdev) != e.Minor {
			t.Errorf("%q: is the device %d, %d", e.Path, unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
	}
	if e.Kind == capstan.KindSymlink {
		if target, err := os.Readlink(path); err != nil || target != e.Link {
			t.Errorf("%q: points to %q, %v", e.Path, target, err)
		}
	}
	if e.Kind == capstan.KindFile {
		compareContent(t, path, m, &st)
	}
	compareXattrs(t, tool, path, e)
}

func compareContent(t *testing.T, path string, m member, st *unix.Stat_t) {
	t.Helper()
	if st.Size != m.entry.Size {
		t.Errorf("%q: has %d bytes", m.entry.Path, st.Size)
	}
	if m.entry.Sparse && st.Blocks*512 > int64(len(m.content))+int64(len(m.entry.Data)+1)*8192 {
		t.Errorf("%q: takes %d bytes on disk for %d", m.entry.Path, st.Blocks*512, len(m.content))
	}
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if m.entry.Size < 100<<20 {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, logical(m)) {
			t.Errorf("%q: content differs: %v", m.entry.Path, err)
		}
		return
	}
	rest := m.content
	for _, x := range m.entry.Data {
		got := make([]byte, x.Length)
		if _, err := f.ReadAt(got, x.Offset); err != nil || !bytes.Equal(got, rest[:x.Length]) {
			t.Errorf("%q: content at %d differs: %v", m.entry.Path, x.Offset, err)
		}
		rest = rest[x.Length:]
	}
}

func compareXattrs(t *testing.T, tool, path string, e *capstan.Entry) {
	t.Helper()
	for _, x := range e.Xattrs {
		name := x.Name
		if tool == "bsdtar" {
			name = escapeXattr(name) // it does not know the escapes
		}
		value := make([]byte, 65536)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil || !bytes.Equal(value[:n], x.Value) {
			t.Errorf("%q: xattr %q is %q, %v", e.Path, x.Name, value[:max(n, 0)], err)
		}
	}
	for flag, want := range map[string]string{"-a": e.ACL, "-d": e.DefaultACL} {
		if want == "" {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "getfacl", "--absolute-names", "--numeric", "--omit-header", flag, path).Output()
		if got := strings.Fields(string(out)); err != nil || !slices.Equal(got, strings.Split(want, ",")) {
			t.Errorf("%q: ACL %s is %q, %v", e.Path, flag, got, err)
		}
	}
}

// Our parser reads what GNU tar writes in its POSIX format, holes included.
func TestReadsGNUTar(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, "d", "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt([]byte("data"), 1<<20)
	if err := errors.Join(err, file.Truncate(3<<20), file.Close()); err != nil {
		t.Fatal(err)
	}
	name := "d/" + strings.Repeat("ü", 90)
	if err := os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(dir, name), "user.a=b%", []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "tar", "--format=posix", "--sparse", "--xattrs", "--sort=name", "-C", dir, "-cf", "-", "d")
	archive, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var p Parser
	r := bytes.NewReader(archive)
	var got []string
	for range 3 {
		h, err := p.Next(r)
		if err != nil {
			t.Fatal(err)
		}
		e := h.Entry
		got = append(got, e.Path)
		switch e.Path {
		case "d/sparse":
			if !e.Sparse || e.Size != 3<<20 || len(e.Data) != 1 || e.Data[0].Offset != 1<<20 || e.Location.Size != e.Data[0].Length {
				t.Errorf("sparse file reads as %+v", e)
			}
		case name:
			if len(e.Xattrs) != 1 || e.Xattrs[0].Name != "user.a=b%" || string(e.Xattrs[0].Value) != "v" {
				t.Errorf("xattrs read as %+v", e.Xattrs)
			}
		}
		size := e.Location.Size
		if _, err := r.Seek(size+Padding(size), 1); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"d", "d/sparse", name}; !slices.Equal(got, want) {
		t.Errorf("entries are %q", got)
	}
	if _, err := p.Next(r); err == nil || errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("after the last entry: %v", err)
	}
}
