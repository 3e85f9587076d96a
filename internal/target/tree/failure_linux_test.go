package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
)

// breaking gives n bytes and then the error.
func breaking(n int, err error) io.Reader {
	return io.MultiReader(strings.NewReader(strings.Repeat("x", n)), readerFunc(func([]byte) (int, error) { return 0, err }))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestBrokenContent sees that a failure of the content leaves nothing behind.
func TestBrokenContent(t *testing.T) {
	t.Parallel()
	damaged := fmt.Errorf("frame 7: %w", capstan.ErrDamaged)
	stop := errors.New("stopped by the test")
	for name, naming := range namings() {
		for _, overwrite := range []bool{false, true} {
			dir := t.TempDir()
			tree := open(t, dir, Options{Overwrite: overwrite})
			tree.naming = naming
			if overwrite {
				if err := os.WriteFile(dir+"/file", []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range []struct {
				what  string
				entry capstan.Entry
				r     io.Reader
				want  error
			}{
				{"damaged at once", capstan.Entry{Size: 10}, breaking(0, damaged), capstan.ErrDamaged},
				{"damaged small", capstan.Entry{Size: 10}, breaking(5, damaged), capstan.ErrDamaged},
				{"damaged after all bytes", capstan.Entry{Size: 10}, breaking(10, damaged), capstan.ErrDamaged},
				{"damaged large", capstan.Entry{Size: 1 << 20}, breaking(900_000, damaged), capstan.ErrDamaged},
				{"damaged at the end of a chunk", capstan.Entry{Size: chunkSize}, breaking(chunkSize, damaged), capstan.ErrDamaged},
				{"short", capstan.Entry{Size: 10}, strings.NewReader("nine byte"), capstan.ErrDamaged},
				{"none", capstan.Entry{Size: 1 << 40}, strings.NewReader(""), capstan.ErrDamaged},
				{"long", capstan.Entry{Size: 10}, strings.NewReader("eleven byte"), capstan.ErrDamaged},
				{"long by a chunk", capstan.Entry{Size: chunkSize}, breaking(chunkSize+1, io.EOF), capstan.ErrDamaged},
				{"negative size", capstan.Entry{Size: -1}, strings.NewReader(""), capstan.ErrDamaged},
				{"ranges overlap", capstan.Entry{Size: 9, Sparse: true, Data: []capstan.Extent{{Offset: 0, Length: 5}, {Offset: 4, Length: 2}}}, strings.NewReader("1234567"), capstan.ErrDamaged},
				{"range beyond the end", capstan.Entry{Size: 9, Sparse: true, Data: []capstan.Extent{{Offset: 8, Length: 2}}}, strings.NewReader("12"), capstan.ErrDamaged},
				{"range far beyond", capstan.Entry{Size: 9, Sparse: true, Data: []capstan.Extent{{Offset: 1<<63 - 1, Length: 2}}}, strings.NewReader("12"), capstan.ErrDamaged},
				{"short sparse", capstan.Entry{Size: 9, Sparse: true, Data: []capstan.Extent{{Offset: 1, Length: 2}}}, strings.NewReader("1"), capstan.ErrDamaged},
				{"stuck", capstan.Entry{Size: 9}, readerFunc(func([]byte) (int, error) { return 0, nil }), io.ErrNoProgress},
				{"no reader", capstan.Entry{Size: 0}, nil, errNoContent},
			} {
				c.entry.Kind = capstan.KindFile
				err := tree.Place(t.Context(), "file", &c.entry, c.r)
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "file") {
					t.Errorf("%s, %s: %v", name, c.what, err)
				}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			endless := readerFunc(func(b []byte) (int, error) { cancel(stop); return len(b), nil })
			if err := tree.Place(ctx, "file", &capstan.Entry{Kind: capstan.KindFile, Size: 1 << 50}, endless); !errors.Is(err, stop) {
				t.Errorf("%s: cancelled: %v", name, err)
			}
			if err := placeText(ctx, tree, "other", "x"); !errors.Is(err, stop) {
				t.Errorf("%s: cancelled before: %v", name, err)
			}
			checkOnlyOld(t, dir, overwrite)
		}
	}
}

// checkOnlyOld sees that a directory holds nothing, or nothing but the old file.
func checkOnlyOld(t *testing.T, dir string, old bool) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile(dir + "/file")
	if old && (len(names) != 1 || string(content) != "old") || !old && len(names) != 0 {
		t.Errorf("left in the target: %v; the old file holds %.20q", names, content)
	}
}

func TestFullTarget(t *testing.T) {
	t.Parallel()
	for name, naming := range namings() {
		dir := mount(t, "tmpfs", "size=1m,nr_inodes=40")
		tree := open(t, dir, Options{Overwrite: true})
		tree.naming = naming
		if err := placeText(t.Context(), tree, "file", "old"); err != nil {
			t.Fatal(err)
		}
		e := capstan.Entry{Kind: capstan.KindFile, Size: 2 << 20}
		err := tree.Place(t.Context(), "file", &e, io.LimitReader(endlessZeros{}, 2<<20))
		var told *capstan.Error
		if !errors.Is(err, capstan.ErrNoSpace) || !errors.As(err, &told) || told.Object != "file" || !strings.Contains(told.Safe, "whole") {
			t.Errorf("%s: %v", name, err)
		}
		checkOnlyOld(t, dir, true)

		// No inodes left: directories, symlinks and files alike.
		for i := range 50 {
			err = tree.Dir(t.Context(), fmt.Sprintf("d%d", i))
			if err != nil {
				break
			}
		}
		symlink := capstan.Entry{Kind: capstan.KindSymlink, Link: "x"}
		for what, err := range map[string]error{
			"Dir": err, "Place": placeText(t.Context(), tree, "f", ""), "parents": placeText(t.Context(), tree, "new/f", ""),
			"symlink": tree.Place(t.Context(), "s", &symlink, nil),
		} {
			if !errors.Is(err, capstan.ErrNoSpace) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

type endlessZeros struct{}

func (endlessZeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestPoorTarget restores onto a filesystem that knows no xattrs and no ACLs.
func TestPoorTarget(t *testing.T) {
	t.Parallel()
	tree := open(t, mount(t, "ramfs", "mode=755"), Options{})
	for _, path := range []string{"a", "b"} {
		e := capstan.Entry{
			Kind: capstan.KindFile, Mode: 0o4775, UID: 12, Xattrs: []capstan.Xattr{{Name: "user.x"}, {Name: "bogus"}},
			ACL: "user::rwx,user:1:rwx,group::r--,mask::rwx,other::r-x",
		}
		if err := tree.Place(t.Context(), path, &e, bytes.NewReader(nil)); err != nil {
			t.Error(err)
		}
	}
	unreadable := capstan.Entry{Kind: capstan.KindFile, Mode: 0o664, ACL: "user:rwx"}
	if err := tree.Place(t.Context(), "c", &unreadable, bytes.NewReader(nil)); err != nil {
		t.Error(err)
	}
	want := []string{
		"xattr user.x not restored: not supported by the target (2 entries, first a)",
		"xattr bogus not restored: not supported by the target (2 entries, first a)",
		"ACLs not restored: not supported by the target (2 entries, first a)",
		`ACL not restored: ACL entry "user:rwx": not of the form tag:id:rwx (1 entry, first c)`,
	}
	if got := tree.Notes(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("notes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The group may do no more than the ACL allowed it, although the mode shows the mask.
	for path, mode := range map[string]uint32{"a": 0o4745, "c": 0o604} {
		var st unix.Stat_t
		if err := unix.Fstatat(tree.dirs.root.fd, path, &st, 0); err != nil || st.Mode&0o7777 != mode {
			t.Errorf("%s: mode %o, want %o, %v", path, st.Mode&0o7777, mode, err)
		}
	}
}

// TestWhatIsNotKept restores what no target holds, or what was asked not to be.
func TestWhatIsNotKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	never := false
	tree := open(t, dir, Options{Owners: &never})
	e := capstan.Entry{
		Kind: capstan.KindFile, Mode: 0o6755, UID: 1234, ModTime: time.Unix(1<<40, 0),
		Xattrs: []capstan.Xattr{{Name: "user.large", Value: make([]byte, 1<<17)}, {Name: xattrACL, Value: []byte("raw")}},
		ACL:    "user::rwx,user:5:rwx,group::rwx,other::r-x",
	}
	if err := tree.Place(t.Context(), "a", &e, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"owners not restored, as asked (1 entry, first a)",
		"setuid or setgid not restored, since the owner was not (1 entry, first a)",
		"xattr user.large not restored: larger than the target can hold, or of a form that it does not know (1 entry, first a)",
		"ACL not restored: an ACL with named entries lacks its mask (1 entry, first a)",
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/a", &st); err != nil || st.Mode&0o7777 != 0o2705 || st.Uid != 0 {
		t.Errorf("mode %o, owner %d, %v", st.Mode, st.Uid, err)
	}
	if st.Mtim.Sec != 1<<40 { // ext4 ends in 2446
		want = append(want, "times before 1970 or after 2038 not restored: the target cannot hold them (1 entry, first a)")
	}
	if got := tree.Notes(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("notes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	var n notes
	for i := range 100 {
		n.add("path\n1", fmt.Sprint("note ", i))
		n.add("path 2", fmt.Sprint("note ", i))
	}
	lines := n.lines()
	if len(lines) != maxNotes+1 || lines[0] != `note 0 (2 entries, first "path\n1")` || lines[maxNotes] != "72 further notes are not listed" {
		t.Errorf("%d lines, first %q, last %q", len(lines), lines[0], lines[len(lines)-1])
	}
}

func TestOtherRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree := open(t, dir, Options{NoSpecial: true})
	for _, kind := range []capstan.EntryKind{0, capstan.KindDir, capstan.KindHardlink, capstan.KindSocket, 99} {
		if err := tree.Place(t.Context(), "x", &capstan.Entry{Kind: kind}, nil); !errors.Is(err, capstan.ErrRefused) {
			t.Errorf("kind %s: %v", kind, err)
		}
	}
	if err := tree.Place(t.Context(), "x", &capstan.Entry{Kind: capstan.KindSymlink}, nil); !errors.Is(err, capstan.ErrDamaged) {
		t.Error(err)
	}
	if err := tree.Link(t.Context(), "x", "not/there"); !errors.Is(err, capstan.ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := tree.Link(t.Context(), "x", "missing"); !errors.Is(err, capstan.ErrNotFound) {
		t.Error(err)
	}
	if err := tree.FinishDir(t.Context(), "missing", &capstan.Entry{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	long := strings.Repeat("n", 256)
	if err := placeText(t.Context(), tree, long, "x"); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
	for _, kind := range []capstan.EntryKind{capstan.KindFifo, capstan.KindBlkDevice, capstan.KindCharDevice} {
		if err := tree.Place(t.Context(), "x", &capstan.Entry{Kind: kind}, nil); err != nil {
			t.Error(err)
		}
	}
	if got := tree.Notes(); len(got) != 1 || got[0] != "devices and fifos left out as asked (3 entries, first x)" {
		t.Errorf("notes %q", got)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("left in the target: %v, %v", names, err)
	}
	beyond := capstan.Entry{Kind: capstan.KindBlkDevice, Major: 1 << 13, Minor: 1}
	if err := open(t, dir, Options{}).Place(t.Context(), "beyond", &beyond, nil); !errors.Is(err, errDevice) {
		t.Errorf("device number: %v", err)
	}
	nobody := capstan.Entry{Kind: capstan.KindFile, Mode: 0o4755, UID: 1<<32 - 1, GID: 7}
	if err := tree.Place(t.Context(), "nobody", &nobody, strings.NewReader("")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir + "/nobody"); err != nil || info.Mode() != 0o755 {
		t.Errorf("setuid for an owner that is none: %v, %v", info, err)
	}
	if got := tree.Notes(); len(got) != 3 || got[1] != "owners not restored: the target does not allow it (1 entry, first nobody)" {
		t.Errorf("notes %q", got)
	}
	if err := errors.Join(tree.Dir(t.Context(), "d"), placeText(t.Context(), tree, "f", "x")); err != nil {
		t.Fatal(err)
	}
	if err := tree.Link(t.Context(), "x", "d"); !errors.Is(err, ErrCannotLink) {
		t.Errorf("link to a directory: %v", err)
	}
}
