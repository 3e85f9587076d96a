package pgtoc

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"capstan"
)

// golden are files that pg_dump 15, 17 and 18 wrote, by the name of the major.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "*.toc"))
	if err != nil || len(names) < 3 {
		t.Fatalf("%d golden files, %v", len(names), err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func parse(t testing.TB, data []byte) *Archive {
	t.Helper()
	a, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestGoldenFilesComeBackByteForByte(t *testing.T) {
	t.Parallel()
	want := map[string]Archive{
		"15.toc": {Version: Version{1, 14, 0}, Compression: GzipDefault},
		"17.toc": {Version: Version{1, 16, 0}, Compression: CompressionGzip},
		"18.toc": {Version: Version{1, 16, 0}, Compression: CompressionGzip},
	}
	for name, data := range golden(t) {
		a := parse(t, data)
		if !bytes.Equal(a.Append(nil), data) {
			t.Errorf("%s: what is written is not what was read", name)
		}
		if a.Version != want[name].Version || a.Compression != want[name].Compression || a.Format != 3 || a.Database.Value != "app" {
			t.Errorf("%s: header %v, compression %d, format %d, database %q", name, a.Version, a.Compression, a.Format, a.Database.Value)
		}
		i := slices.IndexFunc(a.Entries, func(e Entry) bool { return e.Desc.Value == DescTableData && e.Tag.Value == "people" })
		if i < 0 {
			t.Fatalf("%s: no data of people in %d entries", name, len(a.Entries))
		}
		e := a.Entries[i]
		if !e.Data || e.Section != SectionData || e.Namespace.Value != "public" || e.Owner.Value != "postgres" || len(e.DependsOn) != 1 || e.Drop.Valid ||
			!strings.HasPrefix(e.Copy.Value, "COPY public.people (id, name, age, ") || !strings.HasSuffix(e.Copy.Value, ", price, touched, born) FROM stdin;\n") {
			t.Errorf("%s: %+v", name, e)
		}
		if a.ByFile()[e.File.Value].DumpID != e.DumpID {
			t.Errorf("%s: file %s is of another entry", name, e.File.Value)
		}
	}
}

// Only the field of the compression changes, in each version's own words.
func TestCompress(t *testing.T) {
	t.Parallel()
	for name, data := range golden(t) {
		for _, c := range []Compression{CompressionNone, CompressionGzip, CompressionZstd} {
			a := parse(t, data)
			a.Compress(c)
			changed := a.Append(nil)
			differ := 0
			for i := range data {
				if changed[i] != data[i] {
					differ++
				}
			}
			if len(changed) != len(data) || differ > 2 { // 1.14: sign and amount
				t.Errorf("%s: %d bytes became %d, %d differ", name, len(data), len(changed), differ)
			}
			got := parse(t, changed).Compression
			if want := c; got != want && (name != "15.toc" || c != CompressionGzip || got != GzipDefault) {
				t.Errorf("%s: %d, want %d", name, got, want)
			}
		}
	}
}

// What is read as it comes is what is read whole, in pieces of any length; so is the
// copy with another compression.
func TestStreamed(t *testing.T) {
	t.Parallel()
	for name, data := range golden(t) {
		whole := parse(t, data)
		for what, from := range map[string]io.Reader{"at once": bytes.NewReader(data), "by the byte": iotest.OneByteReader(bytes.NewReader(data))} {
			got := &Archive{}
			head, err := Scan(from, func(_ *Archive, e *Entry) error {
				kept := *e
				kept.DependsOn = append([]int32(nil), e.DependsOn...)
				got.Entries = append(got.Entries, kept)
				return nil
			})
			if err != nil {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
			head.Entries = got.Entries
			if !bytes.Equal(head.Append(nil), data) {
				t.Errorf("%s, %s: it is not what was read whole", name, what)
			}
		}
		if _, err := Scan(bytes.NewReader(data), func(*Archive, *Entry) error { return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Scan(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(data))), func(*Archive, *Entry) error { return nil }); !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("%s: %v", name, err)
		}
		for _, c := range []Compression{CompressionNone, CompressionGzip, CompressionZstd} {
			whole.Compress(c)
			var copied bytes.Buffer
			if err := Recompress(&copied, iotest.HalfReader(bytes.NewReader(data)), c); err != nil || !bytes.Equal(copied.Bytes(), whole.Append(nil)) {
				t.Errorf("%s with compression %d: %v, %d bytes", name, c, err, copied.Len())
			}
		}
		for _, cut := range []int{0, headSize - 1, headSize} {
			if err := Recompress(io.Discard, bytes.NewReader(data[:cut]), CompressionNone); !errors.Is(err, capstan.ErrDamaged) {
				t.Errorf("%s cut at %d: %v", name, cut, err)
			}
		}
	}
}

// A file that was cut off, or goes on after its end, is damaged.
func TestCutIsSeen(t *testing.T) {
	t.Parallel()
	for name, data := range golden(t) {
		scan := func(data []byte) error {
			_, err := Scan(bytes.NewReader(data), func(*Archive, *Entry) error { return nil })
			return err
		}
		for end := 0; end < len(data); end += 1 + end/256 { // each of the first, then ever fewer
			if _, err := Parse(data[:end]); !errors.Is(err, capstan.ErrDamaged) {
				t.Fatalf("%s cut at %d: %v", name, end, err)
			}
			if err := scan(data[:end]); !errors.Is(err, capstan.ErrDamaged) {
				t.Fatalf("%s cut at %d, streamed: %v", name, end, err)
			}
		}
		if _, err := Parse(append(slices.Clone(data), 0)); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
		if err := scan(append(slices.Clone(data), 0)); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s with a byte more, streamed: %v", name, err)
		}
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	t.Parallel()
	change := func(at int, b ...byte) []byte {
		data := slices.Clone(golden(t)["18.toc"])
		copy(data[at:], b)
		return data
	}
	const firstInt, count = 12, 12 + 7*5
	for name, data := range map[string][]byte{
		"empty": nil, "no magic": change(0, 'X'), "old": change(6, 12), "new": change(6, 17), "offsets": change(9, 4), "integers": change(8, 8),
		"negative zero": change(firstInt, 1, 0, 0, 0, 0), "sign": change(firstInt, 2), "too large": change(firstInt, 0, 0, 0, 0, 0x80),
		"string of two billion": change(count, 0, 0xff, 0xff, 0xff, 0x7f),
		"string of length -2":   change(count, 1, 2, 0, 0, 0),
	} {
		if a, err := Parse(data); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

func TestWriteThenRead(t *testing.T) {
	t.Parallel()
	for minor := byte(14); minor <= 16; minor++ {
		a := &Archive{
			Version: Version{1, minor, 0}, Format: 3, Compression: CompressionZstd, Created: [7]int32{1, 2, 3, 4, 5, 126, -1},
			Database: Some("d"), ServerVersion: Some(""),
			Entries: []Entry{
				{DumpID: 1, Data: true, Tag: Some("t"), Desc: Some(DescTableData), Section: SectionData, DependsOn: []int32{7, -1}, File: Some("1.dat")},
				{DumpID: 1<<31 - 1, Tag: Some("\x00\xff"), Drop: Some(""), WithOIDs: Some("false")},
			},
		}
		if minor == 16 {
			a.Entries[0].Kind = 'r'
		}
		if got := parse(t, a.Append(nil)); !reflect.DeepEqual(got, a) {
			t.Errorf("1.%d: %+v became %+v", minor, a, got)
		}
	}
}

// FuzzParse: no panic on any bytes, and what is accepted comes back as it was.
func FuzzParse(f *testing.F) {
	for _, data := range golden(f) {
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Parse(data)
		if err != nil {
			if !errors.Is(err, capstan.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(a.Append(nil), data) {
			t.Fatal("what is written is not what was read")
		}
	})
}
