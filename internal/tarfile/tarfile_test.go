package tarfile

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"capstan"
)

// member is an entry with its stored content.
type member struct {
	entry   capstan.Entry
	content []byte
}

func at(sec, nsec int64) time.Time { return time.Unix(sec, nsec).UTC() }

// members are entries of every kind and with everything that can be odd about
// one. Paths of non-directories are unique; parents need not be listed.
func members() []member {
	usual := capstan.Entry{Kind: capstan.KindFile, Mode: 0o644, UID: 1000, GID: 100, User: "someone", Group: "users", ModTime: at(1_700_000_000, 123_456_789)}
	make1 := func(path string, content string, change func(*capstan.Entry)) member {
		e := usual
		e.Path, e.Size = path, int64(len(content))
		if change != nil {
			change(&e)
		}
		return member{e, []byte(content)}
	}
	deep := strings.Repeat("directory-of-some-length/", 12)
	raw, rawLong := "caf\xe9", strings.Repeat("\xff\xfe-name/", 25)
	all := []member{
		make1("t", "", func(e *capstan.Entry) { e.Kind, e.Mode = capstan.KindDir, 0o1755 }),
		make1("t/plain", "hello", nil),
		make1("t/empty", "", nil),
		make1("t/whole-seconds", "x", func(e *capstan.Entry) { e.ModTime = at(1_600_000_000, 0) }),
		make1("t/one-decimal", "x", func(e *capstan.Entry) { e.ModTime = at(1_600_000_000, 100_000_000) }),
		make1("t/epoch", "x", func(e *capstan.Entry) { e.ModTime = at(0, 0) }),
		make1("t/before-1970", "x", func(e *capstan.Entry) { e.ModTime = at(-5, 250_000_000) }),
		make1("t/long-before", "x", func(e *capstan.Entry) { e.ModTime = at(-1_000_000_000, 0) }),
		make1("t/far", "x", func(e *capstan.Entry) { e.ModTime = at(10_000_000_000, 1) }),
		make1("t/setuid", "x", func(e *capstan.Entry) { e.Mode = 0o6755 }),
		make1("t/big-ids", "x", func(e *capstan.Entry) { e.UID, e.GID, e.User, e.Group = 4_000_000_000, 3_000_000, "", "" }),
		make1("t/no\nnewline", "x", nil),
		make1("t/ leading space and \"quotes\" \\ * ?", "x", nil),
		make1("t/-dash", "x", nil),
		make1("t/日本語", "x", nil),
		make1("t/"+raw, "x", nil),
		make1("t/"+rawLong+"file", "x", nil),
		make1("t/"+strings.Repeat("n", 98), "x", nil),
		make1("t/"+strings.Repeat("n", 99), "x", nil),
		make1("t/"+strings.Repeat("m", 255), "x", nil),
		make1("t/"+strings.Repeat("p", 153)+"/"+strings.Repeat("q", 100), "x", nil),
		make1("t/"+strings.Repeat("p", 154)+"/"+strings.Repeat("q", 100), "x", nil),
		make1("t/"+deep+"file", "x", nil),
		make1("t/"+deep+"dir", "", func(e *capstan.Entry) { e.Kind, e.Mode = capstan.KindDir, 0o700 }),
		make1("t/"+strings.Repeat("e", 97), "", func(e *capstan.Entry) { e.Kind, e.Mode = capstan.KindDir, 0o700 }),
		make1("t/"+strings.Repeat("e", 98), "", func(e *capstan.Entry) { e.Kind, e.Mode = capstan.KindDir, 0o700 }),
		make1("t/"+rawLong+"dir", "", func(e *capstan.Entry) { e.Kind, e.Mode = capstan.KindDir, 0o700 }),
		make1("t/owners", "x", func(e *capstan.Entry) { e.User, e.Group = strings.Repeat("u", 40), "Grüppe" }),
		make1("t/link", "", symlink("plain")),
		make1("t/link-abs", "", symlink("/etc/../etc/passwd")),
		make1("t/link-utf8", "", symlink("日本語")),
		make1("t/link-raw", "", symlink(raw)),
		make1("t/link-raw-long", "", symlink(rawLong)),
		make1("t/link-long", "", symlink(deep)),
		make1("t/link-100", "", symlink(strings.Repeat("l", 100))),
		make1("t/hard", "", hardlink("t/plain")),
		make1("t/hard-utf8", "", hardlink("t/日本語")),
		make1("t/hard-raw", "", hardlink("t/"+rawLong+"file")),
		make1("t/hard-long", "", hardlink("t/"+deep+"file")),
		make1("t/fifo", "", func(e *capstan.Entry) { e.Kind = capstan.KindFifo }),
		make1("t/char", "", func(e *capstan.Entry) { e.Kind, e.Major, e.Minor = capstan.KindCharDevice, 1, 3 }),
		make1("t/block", "", func(e *capstan.Entry) { e.Kind, e.Major, e.Minor = capstan.KindBlkDevice, 259, 1_000_000 }),
		make1("t/xattrs", "x", func(e *capstan.Entry) {
			e.Xattrs = []capstan.Xattr{
				{Name: "trusted.overlay", Value: []byte("y")},
				{Name: "user.50%", Value: []byte("percent")},
				{Name: "user.a=b", Value: []byte("equals")},
				{Name: "user.a%3Db", Value: []byte("looks escaped")},
				{Name: "user.binary", Value: []byte("a\x00b\nc=\xff")},
				{Name: "user.empty", Value: []byte{}},
				{Name: "user.long", Value: bytes.Repeat([]byte("v"), 2000)},
				{Name: "user.ü", Value: []byte("named in UTF-8")},
			}
		}),
		make1("t/acl", "x", func(e *capstan.Entry) {
			e.Mode, e.ACL = 0o670, "user::rw-,user:1234:r--,group::r--,group:77:rwx,mask::rwx,other::---"
		}),
		make1("t/acl-dir", "", func(e *capstan.Entry) {
			e.Kind, e.Mode = capstan.KindDir, 0o750
			e.DefaultACL = "user::rwx,user:1234:r-x,group::r-x,mask::r-x,other::---"
		}),
	}
	return append(all, sparseMembers(make1)...)
}

func symlink(target string) func(*capstan.Entry) {
	return func(e *capstan.Entry) { e.Kind, e.Mode, e.Link = capstan.KindSymlink, 0o777, target }
}

func hardlink(path string) func(*capstan.Entry) {
	return func(e *capstan.Entry) { e.Kind, e.Link = capstan.KindHardlink, path }
}

func sparseMembers(make1 func(string, string, func(*capstan.Entry)) member) []member {
	holes := func(size int64, data ...capstan.Extent) func(*capstan.Entry) {
		return func(e *capstan.Entry) { e.Sparse, e.Size, e.Data = true, size, data }
	}
	var many []capstan.Extent
	for i := range int64(500) {
		many = append(many, capstan.Extent{Offset: i*8192 + i, Length: 512 * (1 + i%9)})
	}
	var sum int64
	for _, x := range many {
		sum += x.Length
	}
	return []member{
		make1("t/sparse", "hello", holes(1_000_000, capstan.Extent{Offset: 40_960, Length: 5})),
		make1("t/sparse-hole", "", holes(1_000_000)),
		make1("t/sparse-nothing", "", holes(0)),
		make1("t/sparse-to-end", "end", holes(100_003, capstan.Extent{Offset: 100_000, Length: 3})),
		make1("t/sparse-from-start", "start", holes(100_000, capstan.Extent{Offset: 0, Length: 5})),
		make1("t/sparse-large", "a", holes(20<<30, capstan.Extent{Offset: 19 << 30, Length: 1})),
		make1("t/sparse-many", strings.Repeat("d", int(sum)), holes(10_000_000, many...)),
		make1("t/sparse-日本", "hello", holes(1_000_000, capstan.Extent{Offset: 40_960, Length: 5})),
		make1("t/sparse-\xe9", "hello", holes(1_000_000, capstan.Extent{Offset: 40_960, Length: 5})),
		make1("t/sparse-"+strings.Repeat("\xe9", 120), "hello", holes(1_000_000, capstan.Extent{Offset: 40_960, Length: 5})),
		make1("t/sparse-"+strings.Repeat("s", 200), "hello", holes(1_000_000, capstan.Extent{Offset: 40_960, Length: 5})),
	}
}

// pack makes an archive.
func pack(t testing.TB, all []member) []byte {
	t.Helper()
	var b []byte
	for i := range all {
		m := &all[i]
		var err error
		if b, err = AppendHeader(b, &m.entry, m.entry.Path, m.entry.StoredSize()); err != nil {
			t.Fatalf("%q: %v", m.entry.Path, err)
		}
		if len(b)%Block != 0 {
			t.Fatalf("%q: header of %d bytes", m.entry.Path, len(b))
		}
		b = append(b, m.content...)
		b = append(b, make([]byte, Padding(int64(len(m.content))))...)
	}
	return AppendEnd(b)
}

// stored is what an archive keeps of an entry.
func stored(e capstan.Entry) capstan.Entry {
	e.Location.Size = e.StoredSize()
	for i := range e.Xattrs {
		if len(e.Xattrs[i].Value) == 0 {
			e.Xattrs[i].Value = nil
		}
	}
	return e
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	all := members()
	r := bytes.NewReader(pack(t, all))
	var p Parser
	for _, m := range all {
		before := r.Len()
		h, err := p.Next(r)
		if err != nil {
			t.Fatalf("%q: %v", m.entry.Path, err)
		}
		if got, want := stored(h.Entry), stored(m.entry); !reflect.DeepEqual(got, want) {
			t.Errorf("%q comes back as\n%+v instead of\n%+v", m.entry.Path, got, want)
		}
		if h.Length != int64(before-r.Len()) {
			t.Errorf("%q: header of %d bytes, says %d", m.entry.Path, before-r.Len(), h.Length)
		}
		content := make([]byte, h.Entry.Location.Size)
		if _, err := io.ReadFull(r, content); err != nil || !bytes.Equal(content, m.content) {
			t.Errorf("%q: content differs: %v", m.entry.Path, err)
		}
		if _, err := r.Seek(Padding(int64(len(content))), io.SeekCurrent); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Next(r); !errors.Is(err, io.EOF) || r.Len() != 0 {
		t.Errorf("after the last entry: %v, %d bytes left", err, r.Len())
	}
}

// Go's own reader takes the archive too.
func TestReadByGo(t *testing.T) {
	t.Parallel()
	all := members()
	r := tar.NewReader(bytes.NewReader(pack(t, all)))
	for _, m := range all {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%q: %v", m.entry.Path, err)
		}
		e := m.entry
		want := e.Path
		if e.Kind == capstan.KindDir {
			want += "/"
		}
		if h.Name != want || h.Linkname != e.Link || !h.ModTime.Equal(e.ModTime) || h.Mode != int64(e.Mode) {
			t.Errorf("%q: Go reads %+v", e.Path, h)
		}
		if uint32(h.Uid) != e.UID || uint32(h.Gid) != e.GID || h.Uname != e.User || h.Gname != e.Group {
			t.Errorf("%q: Go reads the owner %d %d %q %q", e.Path, h.Uid, h.Gid, h.Uname, h.Gname)
		}
		if e.Kind == capstan.KindFile && h.Size != e.Size {
			t.Errorf("%q: Go reads %d bytes", e.Path, h.Size)
		}
		if e.Kind != capstan.KindFile || e.Size > 100<<20 {
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, logical(m)) {
			t.Errorf("%q: Go reads other content: %v", e.Path, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last entry: %v", err)
	}
}

// logical is the content with its holes.
func logical(m member) []byte {
	if !m.entry.Sparse {
		return m.content
	}
	b := make([]byte, m.entry.Size)
	rest := m.content
	for _, x := range m.entry.Data {
		copy(b[x.Offset:], rest[:x.Length])
		rest = rest[x.Length:]
	}
	return b
}

func TestPlainEntryIsOneBlock(t *testing.T) {
	t.Parallel()
	e := capstan.Entry{Path: "a/b", Kind: capstan.KindFile, Mode: 0o644, ModTime: at(1_700_000_000, 0), Size: 3}
	b, err := AppendHeader([]byte("before"), &e, e.Path, 3)
	if err != nil || len(b) != len("before")+Block {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	e.ModTime = at(1_700_000_000, 1)
	if b, err = AppendHeader(nil, &e, e.Path, 3); err != nil || len(b) != 3*Block {
		t.Errorf("with nanoseconds: %d bytes, %v", len(b), err)
	}
}

func TestLargeFile(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{max11, max11 + 1, 1 << 50} {
		e := capstan.Entry{Path: "large", Kind: capstan.KindFile, ModTime: at(1, 0), Size: size}
		b, err := AppendHeader(nil, &e, e.Path, size)
		if err != nil {
			t.Fatal(err)
		}
		var p Parser
		h, err := p.Next(bytes.NewReader(b))
		if err != nil || h.Entry.Size != size || h.Entry.Location.Size != size {
			t.Errorf("%d bytes: %+v, %v", size, h, err)
		}
		if g, err := tar.NewReader(bytes.NewReader(b)).Next(); err != nil || g.Size != size {
			t.Errorf("%d bytes: Go reads %+v, %v", size, g, err)
		}
	}
}

func TestUnstorable(t *testing.T) {
	t.Parallel()
	file := capstan.Entry{Path: "f", Kind: capstan.KindFile, Size: 10}
	with := func(change func(*capstan.Entry)) capstan.Entry {
		e := file
		change(&e)
		return e
	}
	tests := map[string]struct {
		entry  capstan.Entry
		stored int64
	}{
		"socket":         {with(func(e *capstan.Entry) { e.Kind = capstan.KindSocket }), 0},
		"no kind":        {with(func(e *capstan.Entry) { e.Kind = 0 }), 0},
		"no name":        {with(func(e *capstan.Entry) { e.Path = "" }), 10},
		"absolute":       {with(func(e *capstan.Entry) { e.Path = "/f" }), 10},
		"dot dot":        {with(func(e *capstan.Entry) { e.Path = "a/../f" }), 10},
		"dot":            {with(func(e *capstan.Entry) { e.Path = "a/./f" }), 10},
		"slash":          {with(func(e *capstan.Entry) { e.Path = "f/" }), 10},
		"zero byte":      {with(func(e *capstan.Entry) { e.Path = "f\x00g" }), 10},
		"negative":       {file, -1},
		"content of dir": {with(func(e *capstan.Entry) { e.Kind = capstan.KindDir }), 10},
		"no target":      {with(func(e *capstan.Entry) { e.Kind = capstan.KindSymlink }), 0},
		"zero target":    {with(func(e *capstan.Entry) { e.Kind, e.Link = capstan.KindSymlink, "a\x00" }), 0},
		"hard outside":   {with(func(e *capstan.Entry) { e.Kind, e.Link = capstan.KindHardlink, "../f" }), 0},
		"xattr no name":  {with(func(e *capstan.Entry) { e.Xattrs = []capstan.Xattr{{}} }), 10},
		"xattr zero":     {with(func(e *capstan.Entry) { e.Xattrs = []capstan.Xattr{{Name: "user.\x00"}} }), 10},
		"xattr large":    {with(func(e *capstan.Entry) { e.Xattrs = []capstan.Xattr{{Name: "user.a", Value: make([]byte, MaxRecords)}} }), 10},
		"acl zero":       {with(func(e *capstan.Entry) { e.ACL = "u\x00" }), 10},
		"range outside":  {with(func(e *capstan.Entry) { e.Sparse, e.Data = true, []capstan.Extent{{Offset: 5, Length: 6}} }), 6},
		"range back": {with(func(e *capstan.Entry) {
			e.Sparse, e.Data = true, []capstan.Extent{{Offset: 5, Length: 512}, {Offset: 0, Length: 2}}
		}), 514},
		"range empty": {with(func(e *capstan.Entry) { e.Sparse, e.Data = true, []capstan.Extent{{Offset: 5}} }), 0},
		"range odd": {with(func(e *capstan.Entry) {
			e.Sparse, e.Size, e.Data = true, 5000, []capstan.Extent{{Offset: 0, Length: 100}, {Offset: 1000, Length: 512}}
		}), 612},
		"range sum": {with(func(e *capstan.Entry) { e.Sparse, e.Data = true, []capstan.Extent{{Offset: 5, Length: 2}} }), 3},
		"ranges":    {with(func(e *capstan.Entry) { e.Sparse, e.Data = true, make([]capstan.Extent, MaxExtents+1) }), 0},
	}
	for name, tt := range tests {
		b, err := AppendHeader([]byte("before"), &tt.entry, tt.entry.Path, tt.stored)
		if !errors.Is(err, ErrUnstorable) || string(b) != "before" {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

func TestPartNames(t *testing.T) {
	t.Parallel()
	for i, want := range map[int]string{1: "a/b.capstan-part-0001", 9999: "a/b.capstan-part-9999", 12345: "a/b.capstan-part-12345"} {
		if got := PartName("a/b", i); got != want {
			t.Errorf("part %d is %q", i, got)
		}
		if path, n, ok := ParsePartName(want); !ok || path != "a/b" || n != i {
			t.Errorf("%q reads as %q, %d, %v", want, path, n, ok)
		}
	}
	for _, name := range []string{
		"a", "a.capstan-part-", "a.capstan-part-001", "a.capstan-part-0000", "a.capstan-part-01234", "a.capstan-part-12x4",
		".capstan-part-0001", "a/.capstan-part-0001", "a.capstan-part-0001/b", "a.capstan-part-+001", "a.capstan-part-9999999999",
	} {
		if path, n, ok := ParsePartName(name); ok {
			t.Errorf("%q reads as part %d of %q", name, n, path)
		}
	}
}

// Long names are shortened so that a part's name has 255 bytes at most, and stay
// apart.
func TestLongPartNames(t *testing.T) {
	t.Parallel()
	for _, base := range []string{strings.Repeat("n", 233), strings.Repeat("n", 255), strings.Repeat("日", 85), strings.Repeat("\xff", 255)} {
		seen := map[string]bool{}
		for _, path := range []string{"d/" + base, "d/" + base[:len(base)-3] + "abc"} {
			for _, i := range []int{1, 9999, 1 << 29} {
				name := PartName(path, i)
				stem, n, ok := ParsePartName(name)
				if len(name) > len("d/")+255 || seen[name] || !ok || n != i || stem != PartStem(path) || utf8.ValidString(path) != utf8.ValidString(name) {
					t.Errorf("part %d of %q: %q (%d bytes)", i, path, name, len(name))
				}
				seen[name] = true
			}
		}
	}
	if long := "d/" + strings.Repeat("n", 232); PartName(long, 1) != long+PartEnding(1) {
		t.Errorf("%q", PartName(long, 1))
	}
	if _, _, ok := ParsePartName(strings.Repeat("n", 233) + PartEnding(1)); ok {
		t.Error("a name that is no part's was taken for one")
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for want, when := range map[string]time.Time{
		"0": at(0, 0), "1.5": at(1, 500_000_000), "1.000000001": at(1, 1), "-1": at(-1, 0), "-0.5": at(-1, 500_000_000),
		"-1.25": at(-2, 750_000_000), "-0.000000001": at(-1, 999_999_999), "99999999999.1": at(99_999_999_999, 100_000_000),
	} {
		if got := string(appendTime(nil, when)); got != want {
			t.Errorf("%v is written as %s instead of %s", when, got, want)
		}
		if got, ok := parseTime(want); !ok || !got.Equal(when) {
			t.Errorf("%s is read as %v", want, got)
		}
	}
	for _, s := range []string{"", "-", ".5", "1.", "1.x", "x", "1e5", "+1", "--1", "9999999999999999999999"} {
		if got, ok := parseTime(s); ok {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}
