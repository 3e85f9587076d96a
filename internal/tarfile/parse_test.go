package tarfile

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"capstan"
)

// No byte of a header can change without notice: checksums cover ustar headers,
// and what extended headers say must stay of the form that is written.
func TestParserNoticesDamagedHeaders(t *testing.T) {
	t.Parallel()
	e := capstan.Entry{Path: "some/file", Kind: capstan.KindFile, Mode: 0o644, ModTime: at(1_700_000_000, 0), Size: 3}
	b, err := AppendHeader(nil, &e, e.Path, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			var p Parser
			h, err := p.Next(bytes.NewReader(b))
			b[i] ^= 1 << bit
			if err == nil && !reflect.DeepEqual(stored(h.Entry), stored(e)) {
				t.Fatalf("bit %d of byte %d is unnoticed", bit, i)
			}
			if err != nil && !errors.Is(err, capstan.ErrDamaged) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
}

func TestParserRefuses(t *testing.T) {
	t.Parallel()
	e := capstan.Entry{Path: "f", Kind: capstan.KindFile, ModTime: at(1, 1), Size: 3, Sparse: true, Data: []capstan.Extent{{Offset: 0, Length: 3}}}
	good, err := AppendHeader(nil, &e, e.Path, 3)
	if err != nil {
		t.Fatal(err)
	}
	// header makes one block with a field changed and the checksum right.
	header := func(change func([]byte)) []byte {
		plain := capstan.Entry{Path: "f", Kind: capstan.KindFile, ModTime: at(1, 0), Size: 3}
		b, err := AppendHeader(nil, &plain, "f", 3)
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		seal(b)
		return b
	}
	pax := func(records string) []byte {
		w := writer{}
		w.dst = append(w.dst, paxTemplate[:]...)
		octal(w.dst[offSize:offSize+11], int64(len(records)))
		seal(w.dst)
		w.dst = append(w.dst, records...)
		w.pad(0)
		return append(w.dst, header(func([]byte) {})...)
	}
	tests := map[string][]byte{
		"nothing":        nil,
		"one zero block": make([]byte, Block),
		"zero, then not": append(make([]byte, Block), good...),
		"pax, then end":  append(bytes.Clone(good[:2*Block]), make([]byte, 2*Block)...),
		"pax twice":      append(bytes.Clone(good[:2*Block]), good...),
		"cut in pax":     good[:Block+20],
		"cut after pax":  good[:2*Block],
		"cut in header":  good[:3*Block-1],
		"cut in map":     good[:4*Block-1],
		"unknown type":   header(func(b []byte) { b[offFlag] = 'g' }),
		"bad size":       header(func(b []byte) { b[offSize] = 'x' }),
		"negative":       header(func(b []byte) { copy(b[offSize:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") }),
		"huge":           header(func(b []byte) { copy(b[offSize:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff") }),
		"big uid":        header(func(b []byte) { copy(b[offUID:], "\x80\x00\x00\x01\x00\x00\x00\x00") }),
		"dot dot":        header(func(b []byte) { copy(b, "../f") }),
		"absolute":       header(func(b []byte) { copy(b, "/f") }),
		"no name":        header(func(b []byte) { b[0] = 0 }),
		"fat directory":  header(func(b []byte) { b[offFlag] = '5' }),
		"empty link":     header(func(b []byte) { b[offFlag] = '2'; copy(b[offSize:], "00000000000") }),
		"huge pax":       header(func(b []byte) { b[offFlag] = 'x'; copy(b[offSize:], "77777777777") }),
		"empty pax":      header(func(b []byte) { b[offFlag] = 'x'; copy(b[offSize:], "00000000000") }),
		"no length":      pax("path=x\n"),
		"short length":   pax("3 a=b\n"),
		"long length":    pax("99 a=b\n"),
		"zero length":    pax("0 a=b\n"),
		"no newline":     pax("6 a=bc"),
		"no equals":      pax("6 abc\n"),
		"no key":         pax("6 =bc\n"),
		"bad time":       pax("11 mtime=x\n"),
		"bad number":     pax("10 uid=-1\n"),
		"path up":        pax("14 path=../up\n"),
		"sparse no map":  pax("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n26 GNU.sparse.realsize=10\n"),
	}
	for name, b := range tests {
		var p Parser
		h, err := p.Next(bytes.NewReader(b))
		if !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for cut := range good {
		var p Parser
		if _, err := p.Next(bytes.NewReader(good[:cut])); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
}

func TestParserRefusesMaps(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no number": "\n", "letter": "x\n", "negative": "-1\n0\n0\n", "too many": "2000000\n", "overlap": "2\n0\n5\n3\n5\n",
		"outside": "1\n95\n10\n", "huge": "1\n999999999999999999999\n1\n", "cut off": "1\n0\n", "more than is there": "1\n0\n99\n",
	} {
		e := capstan.Entry{Path: "f", Kind: capstan.KindFile, ModTime: at(1, 1), Size: 100, Sparse: true, Data: []capstan.Extent{{Offset: 0, Length: 10}}}
		b, err := AppendHeader(nil, &e, e.Path, 10)
		if err != nil {
			t.Fatal(err)
		}
		clear(b[len(b)-Block:])
		copy(b[len(b)-Block:], text)
		var p Parser
		if h, err := p.Next(bytes.NewReader(b)); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestParserPassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("medium error")
	var p Parser
	_, err := p.Next(io.MultiReader(bytes.NewReader(make([]byte, 100)), errorReader{broken}))
	if !errors.Is(err, broken) || errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("error is %v", err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// FuzzParser reads any bytes as headers. What it accepts can be written and
// read again.
func FuzzParser(f *testing.F) {
	for _, m := range members() {
		b, err := AppendHeader(nil, &m.entry, m.entry.Path, m.entry.StoredSize())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(make([]byte, 2*Block))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Parser
		h, err := p.Next(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, capstan.ErrDamaged) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if h.Length > int64(len(b)) || h.Length%Block != 0 {
			t.Fatalf("header of %d bytes in %d", h.Length, len(b))
		}
		again, err := AppendHeader(nil, &h.Entry, h.Entry.Path, h.Entry.StoredSize())
		if err != nil {
			return // a name of an xattr that we would not write
		}
		h2, err := p.Next(bytes.NewReader(again))
		if err != nil || !reflect.DeepEqual(comparable1(h.Entry), comparable1(h2.Entry)) {
			t.Fatalf("%+v comes back as %+v, %v", h.Entry, h2, err)
		}
	})
}

// comparable1 leaves out owners' names, of which odd ones are not kept.
func comparable1(e capstan.Entry) capstan.Entry {
	e = stored(e)
	e.User, e.Group = "", ""
	return e
}

// FuzzRoundTrip writes entries with any names and values and reads them back.
func FuzzRoundTrip(f *testing.F) {
	f.Add("a/b", "target", "user.x", []byte("v"), "someone", int64(5), int64(7), uint8(1))
	f.Add("\xff/日", "\xe9", "user.a=%3D%", []byte{0, '\n'}, "\xe9", int64(-5), int64(0), uint8(3))
	f.Fuzz(func(t *testing.T, path, link, xattr string, value []byte, user string, sec, nsec int64, kind uint8) {
		e := capstan.Entry{Path: path, Kind: capstan.EntryKind(kind), Mode: 0o644, User: user, ModTime: at(sec%(1<<40), nsec%1e9)}
		e.Xattrs = []capstan.Xattr{{Name: xattr, Value: value}}
		if e.Kind == capstan.KindSymlink || e.Kind == capstan.KindHardlink {
			e.Link = link
		}
		if e.Kind == capstan.KindFile {
			e.Size = sec & 0xFFFF
		}
		b, err := AppendHeader(nil, &e, path, e.Size)
		if err != nil {
			return
		}
		var p Parser
		h, err := p.Next(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if !reflect.DeepEqual(comparable1(h.Entry), comparable1(e)) || h.Length != int64(len(b)) {
			t.Fatalf("%+v comes back as %+v", e, h.Entry)
		}
	})
}

func BenchmarkAppendHeader(b *testing.B) {
	e := capstan.Entry{Path: "usr/share/doc/some-package/changelog.Debian.gz", Kind: capstan.KindFile, Mode: 0o644, User: "root", Group: "root", ModTime: at(1_700_000_000, 123_456_789), Size: 3}
	buf := make([]byte, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		if len(buf) > 1<<19 {
			buf = buf[:0]
		}
		buf, _ = AppendHeader(buf, &e, e.Path, 3)
	}
}

func BenchmarkParse(b *testing.B) {
	e := capstan.Entry{Path: "usr/share/doc/some-package/changelog.Debian.gz", Kind: capstan.KindFile, Mode: 0o644, User: "root", Group: "root", ModTime: at(1_700_000_000, 123_456_789), Size: 3}
	header, err := AppendHeader(nil, &e, e.Path, 3)
	if err != nil {
		b.Fatal(err)
	}
	var p Parser
	r := bytes.NewReader(header)
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(header)
		if _, err := p.Next(r); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzPartName takes names of parts apart: only such as PartName makes.
func FuzzPartName(f *testing.F) {
	for _, name := range []string{"a.capstan-part-0001", "a/b.capstan-part-12345", ".capstan-part-0001", "x.capstan-part-0001.capstan-part-0002"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if path, i, ok := ParsePartName(name); ok && PartName(path, i) != name {
			t.Fatalf("%q is part %d of %q", name, i, path)
		}
	})
}
