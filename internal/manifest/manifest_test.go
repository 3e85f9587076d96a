package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"capstan"
)

func testSet() capstan.Set {
	return capstan.Set{
		ID: "2026-11_000001", Job: "nightly", Status: capstan.RunPartial,
		Started:  time.Date(2026, 11, 20, 1, 2, 3, 4, time.UTC),
		Finished: time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC),
		Codec:    capstan.CodecZstd, Recipients: []string{"age1x", "age1y"}, Host: "files.example", Sources: []string{"/srv/data", "/srv/\xff<&>"},
		Counts: capstan.Counts{Entries: 12, Stored: 7, Failed: 1, BytesIn: 1 << 40, BytesOut: 5},
	}
}

func testArchives() []capstan.Archive {
	var archives []capstan.Archive
	for i := capstan.ArchiveNumber(1); i <= 3; i++ {
		archives = append(archives, capstan.Archive{
			Set: "2026-11_000001", Number: i * i, Name: capstan.ArchiveName("2026-11_000001", i*i, capstan.CodecGzip), Codec: capstan.CodecGzip,
			Entries: int64(i), TarSize: 1 << 33, Size: 1 << 32, Hash: sha256.Sum256([]byte{byte(i)}),
		})
	}
	return archives
}

// testEntries hold every field, and every value at the edge of its range.
func testEntries() []capstan.Entry {
	far := []time.Time{
		time.Unix(0, 0), time.Unix(0, 1), time.Unix(-1, 500_000_000), time.Unix(-1, 999_999_999), time.Unix(-2, 0),
		time.Unix(1_700_000_000, 123_456_789), time.Unix(253_402_300_800, 100), time.Unix(-99_999_999_999, 7),
		time.Unix(math.MaxInt64, 999_999_999), time.Unix(math.MinInt64, 0), time.Unix(math.MinInt64, 1),
		{},
	}
	entries := []capstan.Entry{
		{
			Path: "data/file", Kind: capstan.KindFile, Outcome: capstan.OutcomeChanged, Reason: "grew from 1 to 2 bytes",
			Mode: 0o7755, UID: math.MaxUint32, GID: 7, User: "user", Group: "group with \"quotes\"",
			ModTime: far[5].UTC(), ChangeTime: far[1].UTC(), Dev: math.MaxUint64, Ino: math.MaxUint64, Links: math.MaxUint32,
			Size: math.MaxInt64, ACL: "user::rw-,user:7:r--", DefaultACL: "user::rwx", Hash: sha256.Sum256(nil),
			Xattrs:   []capstan.Xattr{{Name: "user.a=b", Value: []byte{0, 255}}, {Name: "user.\xfe", Value: []byte{}}},
			Location: capstan.Location{Archive: 1, Offset: 0, Size: math.MaxInt64},
		},
		{Path: "data/link", Kind: capstan.KindSymlink, Outcome: capstan.OutcomeStored, Link: "../\xff\n"},
		{Path: "data/device", Kind: capstan.KindBlkDevice, Outcome: capstan.OutcomeStored, Major: 8, Minor: 17, Location: capstan.Location{Archive: 2, Offset: 512}},
		{Path: "data/hole", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Size: 1 << 40, Sparse: true},
		{
			Path: "data/sparse", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Size: 1 << 40, Sparse: true,
			Data: []capstan.Extent{{Offset: 0, Length: 1}, {Offset: 4096, Length: 1<<40 - 4096}},
		},
		{
			Path: "data/split", Kind: capstan.KindFile, Outcome: capstan.OutcomeUnchanged, Size: 5, Location: capstan.Location{Archive: 1, Size: 3},
			Parts: []capstan.Part{
				{Location: capstan.Location{Archive: 1, Size: 3}, Length: 3},
				{Location: capstan.Location{Archive: 2, Offset: 1024, Size: 2}, Start: 3, Length: 2},
			},
		},
		{Path: "gone", Kind: capstan.KindDir, Outcome: capstan.OutcomeDeleted},
	}
	for i, name := range []string{"\n", "\x01\x1f\x7f", `"\\b`, "é…\U0001F600", "\xc3", "a\xed\xa0\x80", "...", "-", " ", "\u2028", "\ufffd"} {
		entries = append(entries, capstan.Entry{Path: "odd/" + name, Kind: capstan.KindFifo, Outcome: capstan.OutcomeExcluded, ModTime: far[i].UTC()})
	}
	last := entries[len(entries)-1]
	last.Path, last.ModTime = strings.Repeat("long/", 100_000)+"x", time.Time{}
	return append(entries, last)
}

func seq(entries []capstan.Entry) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func encode(t testing.TB, entries []capstan.Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, testSet(), testArchives(), seq(entries)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readAll gives what a manifest holds, and the error that ends it.
func readAll(r io.Reader) (set capstan.Set, archives []capstan.Archive, entries []capstan.Entry, err error) {
	m, err := NewReader(r)
	if err != nil {
		return set, nil, nil, err
	}
	defer m.Close()
	for entry, err := range m.Entries() {
		if err != nil {
			return m.Set(), m.Archives(), entries, err
		}
		entries = append(entries, entry)
	}
	return m.Set(), m.Archives(), entries, nil
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	want := testEntries()
	set, archives, entries, err := readAll(bytes.NewReader(encode(t, want)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(set, testSet()) {
		t.Errorf("set %+v\nwant %+v", set, testSet())
	}
	if !reflect.DeepEqual(archives, testArchives()) {
		t.Errorf("archives %+v", archives)
	}
	if len(entries) != len(want) {
		t.Fatalf("%d entries, want %d", len(entries), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(entries[i], want[i]) {
			t.Errorf("entry %.200q:\n%.500s\nwant\n%.500s", want[i].Path, fmt.Sprintf("%+v", entries[i]), fmt.Sprintf("%+v", want[i]))
		}
	}
}

// The stock zstd unpacks it, and every line is JSON that a stock parser reads.
func TestStockToolsRead(t *testing.T) {
	t.Parallel()
	command := exec.CommandContext(t.Context(), "zstd", "-dc")
	command.Stdin = bytes.NewReader(encode(t, testEntries()))
	text, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if want := 1 + 3 + len(testEntries()) + 1; len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
	for i, line := range lines {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Errorf("line %d: %v", i+1, err)
		}
		wantType := map[int]string{0: "set", 1: "archive", 2: "archive", 3: "archive", len(lines) - 1: "end"}[i]
		if wantType == "" {
			wantType = "entry"
			if path := testEntries()[i-4].Path; fields["path"] != strings.ToValidUTF8(path, "\ufffd") && fields["path_b64"] == nil {
				t.Errorf("line %d: path %q", i+1, fields["path"])
			}
		}
		if fields["type"] != wantType {
			t.Errorf("line %d has type %v", i+1, fields["type"])
		}
	}
}

// The line of an entry is what the specification shows.
func TestEntryLine(t *testing.T) {
	t.Parallel()
	entry := capstan.Entry{
		Path: "data/\xff", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Mode: 0o644, UID: 1000, User: "ann",
		ModTime: time.Unix(1_700_000_000, 5_000_000), Size: 5, Hash: sha256.Sum256([]byte("hello")), Links: 1,
		Xattrs: []capstan.Xattr{{Name: "user.x", Value: []byte("y")}}, Location: capstan.Location{Archive: 1, Offset: 1024, Size: 5},
	}
	got, err := appendEntry(nil, &entry)
	const want = `{"type":"entry","path":"data/\ufffd","path_b64":"ZGF0YS//","kind":"file","outcome":"stored","mode":"0644","uid":1000,` +
		`"user":"ann","mtime":"1700000000.005","links":1,"xattrs":[{"name":"user.x","value":"eQ=="}],"size":5,` +
		`"sha256":"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","archive":1,"offset":1024,"stored":5}` + "\n"
	if string(got) != want || err != nil {
		t.Errorf("got  %s\nwant %s%v", got, want, err)
	}
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	good := capstan.Entry{Path: "a", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored}
	for name, spoil := range map[string]func(e *capstan.Entry){
		"no path": func(e *capstan.Entry) { e.Path = "" }, "absolute": func(e *capstan.Entry) { e.Path = "/a" },
		"up": func(e *capstan.Entry) { e.Path = "a/../b" }, "dot": func(e *capstan.Entry) { e.Path = "./a" },
		"slash": func(e *capstan.Entry) { e.Path = "a/" }, "NUL": func(e *capstan.Entry) { e.Path = "a\x00" },
		"kind": func(e *capstan.Entry) { e.Kind = 99 }, "outcome": func(e *capstan.Entry) { e.Outcome = 0 },
	} {
		bad := good
		spoil(&bad)
		w, err := NewWriter(io.Discard, testSet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(&bad); err == nil {
			t.Errorf("%s: written", name)
		}
		if w.Add(&good) == nil || w.Close() == nil {
			t.Errorf("%s: forgotten", name)
		}
	}
	if _, err := NewWriter(io.Discard, testSet(), []capstan.Archive{{Set: "2026-11_000002", Number: 1}}); err == nil {
		t.Error("an archive of another set")
	}
	archives := testArchives()
	slices.Reverse(archives)
	if _, err := NewWriter(io.Discard, testSet(), archives); err == nil {
		t.Error("archives out of order")
	}
}

func TestWritePassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("the catalog is broken")
	err := Write(io.Discard, testSet(), nil, func(yield func(capstan.Entry, error) bool) { yield(capstan.Entry{}, broken) })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	for size := 0; ; size += 100 {
		out := &limitedWriter{left: size, err: broken}
		err := Write(out, testSet(), testArchives(), seq(testEntries()))
		if err == nil {
			break
		}
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
}

type limitedWriter struct {
	left int
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

// A manifest that is cut off anywhere, or has any byte changed, is never taken
// for whole.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	whole := encode(t, testEntries()[:7])
	_, _, want, err := readAll(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	for size := range whole {
		if _, _, _, err := readAll(bytes.NewReader(whole[:size])); !errors.Is(err, capstan.ErrDamaged) {
			t.Fatalf("cut at %d of %d: %v", size, len(whole), err)
		}
	}
	for i := range whole {
		broken := bytes.Clone(whole)
		broken[i] ^= 0x40
		if _, _, entries, err := readAll(bytes.NewReader(broken)); err == nil && !reflect.DeepEqual(entries, want) {
			t.Fatalf("byte %d changed, and other entries were read", i)
		} else if err != nil && !errors.Is(err, capstan.ErrDamaged) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	if _, _, _, err := readAll(bytes.NewReader(append(whole, whole...))); !errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("two manifests in one file: %v", err)
	}
}

// A medium that cannot be read is not a damaged manifest.
func TestReadErrorsAreNoDamage(t *testing.T) {
	t.Parallel()
	whole := encode(t, testEntries())
	broken := errors.New("input/output error")
	for size := 0; size < len(whole); size += 97 {
		_, _, _, err := readAll(io.MultiReader(bytes.NewReader(whole[:size]), &failingReader{broken}))
		if !errors.Is(err, broken) || errors.Is(err, capstan.ErrDamaged) {
			t.Fatalf("after %d bytes: %v", size, err)
		}
	}
}

type failingReader struct{ err error }

func (r *failingReader) Read([]byte) (int, error) { return 0, r.err }

// compress gives lines the form of a manifest.
func compress(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	encoder, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(encoder, text)
	if err := errors.Join(err, encoder.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const (
	setText     = `{"type":"set","format":1,"set":"2026-11_000001","status":"complete","codec":"zstd","sources":[],"counts":{}}` + "\n"
	archiveText = `{"type":"archive","number":1,"name":"backup_2026-11_000001_0001.tar","codec":"none","entries":1,"tar_size":1,"size":1,"sha256":"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}` + "\n"
	entryText   = `{"type":"entry","path":"a","kind":"file","outcome":"stored","mode":"0644"}` + "\n"
)

func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	end := func(archives, entries int) string {
		return fmt.Sprintf(`{"type":"end","archives":%d,"entries":%d}`+"\n", archives, entries)
	}
	tests := []struct {
		name, text string
		class      error // nil: it must be read
	}{
		{"whole", setText + archiveText + entryText + end(1, 1), nil},
		{"without archives and entries", setText + end(0, 0), nil},
		{"unknown fields", strings.Replace(setText, "{", `{"new":{"a":[1,{}]},`, 1) + strings.Replace(entryText, "{", `{"new":[{"a":-1.5e3},null,true,"\""],`, 1) + end(0, 1), nil},
		{"other order and spaces", "{ \"format\" : 1 , \"set\":\"2026-11_000001\",\"type\":\"set\"}\r\n" + ` { "mode" : "0644", "path":"a" ,"outcome":"stored","kind":"file","type":"entry"}` + "\n" + end(0, 1), nil},
		{"null", setText + `{"type":"entry","path":"a","path_b64":null,"kind":"file","outcome":"stored","mode":null,"uid":null,"user":null,"mtime":null,"sha256":null,"data":null,"parts":null,"xattrs":null,"size":null,"archive":null}` + "\n" + end(0, 1), nil},
		{"nothing", "", capstan.ErrDamaged},
		{"no set", entryText + end(0, 1), capstan.ErrDamaged},
		{"not JSON", "hello\n", capstan.ErrDamaged},
		{"no format", `{"type":"set","set":"2026-11_000001"}` + "\n" + end(0, 0), capstan.ErrDamaged},
		{"newer", `{"type":"set","format":2,"set":{"all":"new"}}` + "\n", capstan.ErrRefused},
		{"bad set id", `{"type":"set","format":1,"set":"../x"}` + "\n" + end(0, 0), capstan.ErrDamaged},
		{"two sets", setText + setText + end(0, 0), capstan.ErrDamaged},
		{"archive twice", setText + archiveText + archiveText + end(2, 0), capstan.ErrDamaged},
		{"archive name", setText + strings.Replace(archiveText, `"backup_`, `"../backup_`, 1) + end(1, 0), capstan.ErrDamaged},
		{"archive after entry", setText + entryText + archiveText + end(1, 1), capstan.ErrDamaged},
		{"too few entries", setText + entryText + end(0, 2), capstan.ErrDamaged},
		{"too many entries", setText + entryText + entryText + end(0, 1), capstan.ErrDamaged},
		{"too few archives", setText + archiveText + end(2, 0), capstan.ErrDamaged},
		{"no end", setText + entryText, capstan.ErrDamaged},
		{"end without newline", setText + strings.TrimSpace(end(0, 0)), capstan.ErrDamaged},
		{"more after the end", setText + end(0, 0) + "\n", capstan.ErrDamaged},
		{"empty line", setText + "\n" + end(0, 0), capstan.ErrDamaged},
		{"unknown type", setText + `{"type":"trailer"}` + "\n", capstan.ErrDamaged},
		{"another case", setText + strings.Replace(entryText, "path", "PATH", 1) + end(0, 1), capstan.ErrDamaged},
	}
	for _, test := range tests {
		_, _, _, err := readAll(bytes.NewReader(compress(t, test.text)))
		if test.class == nil && err != nil || test.class != nil && !errors.Is(err, test.class) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestEntriesOnce(t *testing.T) {
	t.Parallel()
	m, err := NewReader(bytes.NewReader(encode(t, testEntries())))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, err := range m.Entries() {
		if err != nil {
			t.Error(err)
		}
		break // leaving early is allowed
	}
	for _, err := range m.Entries() {
		if err == nil {
			t.Error("entries were read a second time, from the middle")
		}
		break
	}
}

// Encoding sixty thousand entries must stay well under 0.2 s; this counts what
// makes it so, since a shared machine's clock proves nothing.
func TestEncodingAllocatesNothing(t *testing.T) {
	entry := testEntries()[0]
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		var err error
		if buf, err = appendEntry(buf[:0], &entry); err != nil {
			t.Fatal(err)
		}
	}); n > 2 { // base64 of a name that is not UTF-8 copies it
		t.Errorf("%v allocations an entry", n)
	}
}

func benchmarkEntries(n int) []capstan.Entry {
	entries := make([]capstan.Entry, n)
	for i := range entries {
		entries[i] = capstan.Entry{
			Path: fmt.Sprintf("share/doc/package-%05d/examples/file-%03d.txt", i/37, i%37), Kind: capstan.KindFile, Outcome: capstan.OutcomeStored,
			Mode: 0o644, UID: 1000, GID: 1000, User: "backup", Group: "backup",
			ModTime: time.Unix(1_700_000_000+int64(i*77), int64(i*1_000_003%1_000_000_000)), ChangeTime: time.Unix(1_710_000_000+int64(i), int64(i*7_000_003%1_000_000_000)),
			Dev: 65024, Ino: uint64(1_000_000 + i), Links: 1, Size: int64(i * 7919 % 100_000),
			Hash:     sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)}),
			Location: capstan.Location{Archive: 1, Offset: int64(i) * 51200, Size: int64(i * 7919 % 100_000)},
		}
	}
	return entries
}

func BenchmarkWrite60000(b *testing.B) {
	entries := benchmarkEntries(60_000)
	for b.Loop() {
		if err := Write(io.Discard, testSet(), nil, seq(entries)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead60000(b *testing.B) {
	manifest := encode(b, benchmarkEntries(60_000))
	for b.Loop() {
		m, err := NewReader(bytes.NewReader(manifest))
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range m.Entries() {
			if err != nil {
				b.Fatal(err)
			}
		}
		m.Close()
	}
}
