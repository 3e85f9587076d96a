package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/tarfile"
)

// Golden archives are made once for a version of the format and never again:
//
//	go test ./internal/archive -run TestGolden -golden v2
//
// makes those of the engine of this build; run it with CGO_ENABLED=0 as well.
var golden = flag.String("golden", "", "make golden archives in this new directory below testdata/golden")

const goldenDir = "testdata/golden"

// goldenEntry is what golden archives must give, in JSON; names and values are
// quoted in Go's way, since they need not be UTF-8.
type goldenEntry struct {
	Path, Kind, Link     string
	Mode, UID, GID       uint32
	User, Group          string
	Seconds, Nanoseconds int64
	Size, Stored         int64
	Major, Minor         uint32
	Xattrs               []string
	ACL, DefaultACL      string
	Sparse               bool
	Data                 []capstan.Extent
	SHA256               string // of the stored content; of parts, all of it
}

func describe(e *capstan.Entry, content []byte) goldenEntry {
	g := goldenEntry{
		Path: fmt.Sprintf("%q", e.Path), Kind: e.Kind.String(), Link: fmt.Sprintf("%q", e.Link), Mode: e.Mode, UID: e.UID, GID: e.GID,
		User: e.User, Group: e.Group, Seconds: e.ModTime.Unix(), Nanoseconds: int64(e.ModTime.Nanosecond()),
		Size: e.Size, Stored: int64(len(content)), Major: e.Major, Minor: e.Minor,
		ACL: e.ACL, DefaultACL: e.DefaultACL, Sparse: e.Sparse, Data: e.Data,
	}
	for _, x := range e.Xattrs {
		g.Xattrs = append(g.Xattrs, fmt.Sprintf("%q=%q", x.Name, x.Value))
	}
	if e.HasContent() {
		g.SHA256 = fmt.Sprintf("%x", sha256.Sum256(content))
	}
	return g
}

// goldenThings has one of everything that the format describes.
func goldenThings() []thing {
	with := func(t thing, change func(*capstan.Entry)) thing {
		change(&t.entry)
		return t
	}
	special := func(path string, change func(*capstan.Entry)) thing {
		return with(thing{entry: capstan.Entry{Path: path, Mode: 0o640, UID: 1, GID: 2, User: "daemon", Group: "bin", ModTime: at(1_000_000_000, 5)}}, change)
	}
	long, raw := strings.Repeat("directory/", 30), strings.Repeat("\xfe\xff", 70)
	small := []byte("some content\n")
	sparseFile := func(path string) thing {
		return with(file(path, append(text(3, 8192), "end"...), true), func(e *capstan.Entry) {
			e.Sparse, e.Size = true, 50_000_003
			e.Data = []capstan.Extent{{Offset: 4096, Length: 4096}, {Offset: 1 << 20, Length: 4096}, {Offset: 50_000_000, Length: 3}}
		})
	}
	return []thing{
		special("g", func(e *capstan.Entry) { e.Kind, e.Mode = capstan.KindDir, 0o1775 }),
		file("g/a-text", text(1, 30_000), true), file("g/b-empty", nil, false), file("g/c-noise", noise(1, 10_000), true),
		with(file("g/d-seconds", small, false), func(e *capstan.Entry) { e.ModTime = at(1_500_000_000, 0) }),
		with(file("g/e-before-1970", small, false), func(e *capstan.Entry) { e.ModTime = at(-12345, 500_000_000) }),
		with(file("g/f-late", small, false), func(e *capstan.Entry) { e.ModTime = at(20_000_000_000, 0) }),
		with(file("g/g-ids", small, false), func(e *capstan.Entry) { e.UID, e.GID, e.Mode = 4_000_000_000, 2_097_152, 0o6711 }),
		with(file("g/h-owner", small, false), func(e *capstan.Entry) { e.User, e.Group = strings.Repeat("u", 32), "größe" }),
		file("g/"+long+"file", small, false), file("g/"+strings.Repeat("n", 120), small, false), file("g/日本語", small, false),
		file("g/caf\xe9", small, false), file("g/"+raw, small, false), file("g/line\nfeed", small, false),
		special("g/"+long+"sub", func(e *capstan.Entry) { e.Kind = capstan.KindDir }),
		special("g/link", func(e *capstan.Entry) { e.Kind, e.Link = capstan.KindSymlink, "a-text" }),
		special("g/link-long", func(e *capstan.Entry) { e.Kind, e.Link = capstan.KindSymlink, long }),
		special("g/link-raw", func(e *capstan.Entry) { e.Kind, e.Link = capstan.KindSymlink, raw }),
		special("g/link-utf8", func(e *capstan.Entry) { e.Kind, e.Link = capstan.KindSymlink, "日本語" }),
		special("g/other-name", func(e *capstan.Entry) { e.Kind, e.Link = capstan.KindHardlink, "g/a-text" }),
		special("g/p-fifo", func(e *capstan.Entry) { e.Kind = capstan.KindFifo }),
		special("g/q-char", func(e *capstan.Entry) { e.Kind, e.Major, e.Minor = capstan.KindCharDevice, 1, 3 }),
		special("g/r-block", func(e *capstan.Entry) { e.Kind, e.Major, e.Minor = capstan.KindBlkDevice, 5_000_000, 8 }),
		sparseFile("g/s-sparse"), sparseFile("g/t-sparse-\xe9"),
		with(file("g/u-hole", nil, true), func(e *capstan.Entry) { e.Sparse, e.Size = true, 1<<40+1 }),
		with(file("g/v-xattrs", small, false), func(e *capstan.Entry) {
			e.Xattrs = []capstan.Xattr{{Name: "user.a", Value: []byte("\x00\n=\xff")}, {Name: "user.a=b", Value: []byte("1")}, {Name: "user.50%", Value: []byte("2")}, {Name: "user.c%3Dd", Value: []byte("3")}}
			e.ACL = "user::rw-,user:7:r--,group::r--,mask::r--,other::---"
		}),
		special("g/w-acl", func(e *capstan.Entry) {
			e.Kind, e.DefaultACL = capstan.KindDir, "user::rwx,group::r-x,other::---"
		}),
		file("g/x-split", text(9, 150_000), true),
		file("g/y-after", small, false),
		with(file("g/z-split-sparse", text(10, 70_000/512*512), true), func(e *capstan.Entry) {
			e.Sparse, e.Size = true, 3<<30
			e.Data = []capstan.Extent{{Offset: 1 << 20, Length: 40_960}, {Offset: 1 << 30, Length: 70_000/512*512 - 40_960}}
		}),
	}
}

func makeGolden(t *testing.T, version string) {
	things := goldenThings()
	var want []goldenEntry
	for i := range things {
		want = append(want, describe(&things[i].entry, things[i].data))
	}
	text, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	write := func(dir, name string, b []byte) {
		path := filepath.Join(goldenDir, version, dir, name)
		if _, err := os.Stat(path); err == nil {
			t.Logf("%s is kept as it is", path)
			return
		}
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err := errors.Join(err, os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("", "entries.json", append(text, '\n'))
	for _, c := range codecs {
		dir := string(c)
		if c == capstan.CodecZstd {
			dir += "-" + codec.Engine
		}
		sink := packAll(t, Options{Codec: c, FrameSize: 24 << 10, ArchiveSize: MinArchive}, things)
		for _, a := range sink.sealed {
			write(dir, capstan.ArchiveName("2026-11_000001", a.Number, c), sink.file(a.Number))
		}
	}
}

// forGolden calls check for every golden set, with the set's archives in order.
func forGolden(t *testing.T, check func(t *testing.T, c capstan.Codec, archives [][]byte, want []goldenEntry)) {
	t.Helper()
	if *golden != "" {
		makeGolden(t, *golden)
	}
	lists, err := filepath.Glob(filepath.Join(goldenDir, "*", "entries.json"))
	if err != nil || len(lists) == 0 {
		t.Fatalf("no golden archives: %v", err)
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		var want []goldenEntry
		if err := errors.Join(err, json.Unmarshal(b, &want)); err != nil {
			t.Fatal(err)
		}
		dirs, err := filepath.Glob(filepath.Join(filepath.Dir(list), "*", "*_0001.tar*"))
		if err != nil || len(dirs) < 3 {
			t.Fatalf("%s: %v, %v", list, dirs, err)
		}
		for _, first := range dirs {
			t.Run(strings.TrimPrefix(filepath.Dir(first), goldenDir+"/"), func(t *testing.T) {
				names, err := filepath.Glob(filepath.Join(filepath.Dir(first), "*"))
				if err != nil {
					t.Fatal(err)
				}
				var archives [][]byte
				var c capstan.Codec
				slices.Sort(names)
				for _, name := range names {
					_, _, of, ok := capstan.ParseArchiveName(filepath.Base(name))
					b, err := os.ReadFile(name)
					if err != nil || !ok {
						t.Fatalf("%s: %v", name, err)
					}
					archives, c = append(archives, b), of
				}
				check(t, c, archives, want)
			})
		}
	}
}

// Our reader restores every golden archive: by walking through it, and again
// entry by entry.
func TestGolden(t *testing.T) {
	forGolden(t, func(t *testing.T, c capstan.Codec, archives [][]byte, want []goldenEntry) {
		var got []thing
		for i, b := range archives {
			r, err := OpenReader(bytes.NewReader(b), int64(len(b)), c)
			if err != nil || r.Damage() != nil {
				t.Fatalf("archive %d: %v, %v", i+1, err, r.Damage())
			}
			err = r.Walk(t.Context(), 2, 0, func(w *Walked) error {
				content, err := io.ReadAll(w.Content)
				if err != nil || w.Err != nil {
					t.Errorf("%q: %v, %v", w.Entry.Path, err, w.Err)
				}
				again, err := r.Open(t.Context(), w.Entry.Location)
				if err != nil {
					return err
				}
				second, err := io.ReadAll(again)
				if err := errors.Join(err, again.Close()); err != nil || !bytes.Equal(second, content) {
					t.Errorf("%q: read again: %v", w.Entry.Path, err)
				}
				got = append(got, thing{entry: w.Entry, data: content})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		compareGolden(t, got, want)
	})
}

// An independent reader restores every golden archive too.
func TestGoldenByReference(t *testing.T) {
	forGolden(t, func(t *testing.T, c capstan.Codec, archives [][]byte, want []goldenEntry) {
		var got []thing
		for i, b := range archives {
			things, err := referenceRead(b, c)
			if err != nil {
				t.Fatalf("archive %d: %v", i+1, err)
			}
			got = append(got, things...)
		}
		compareGolden(t, got, want)
	})
}

func compareGolden(t *testing.T, read []thing, want []goldenEntry) {
	t.Helper()
	got := joinParts(read)
	if len(got) != len(want) || len(got) == len(read) {
		t.Fatalf("%d entries instead of %d, of %d tar entries", len(got), len(want), len(read))
	}
	for i := range want {
		if g := describe(&got[i].entry, got[i].data); !reflect.DeepEqual(g, want[i]) {
			t.Errorf("entry %d is\n%+v instead of\n%+v", i, g, want[i])
		}
	}
}

// joinParts puts the parts of files together.
func joinParts(things []thing) []thing {
	var all []thing
	for _, part := range things {
		path, i, isPart := tarfile.ParsePartName(part.entry.Path)
		if !isPart {
			all = append(all, part)
			continue
		}
		if i == 1 {
			part.entry.Path = path
			all = append(all, part)
			continue
		}
		whole := &all[len(all)-1]
		for _, x := range part.entry.Data {
			x.Offset += whole.entry.Size
			if n := len(whole.entry.Data); n > 0 && whole.entry.Data[n-1].Offset+whole.entry.Data[n-1].Length == x.Offset {
				whole.entry.Data[n-1].Length += x.Length
				continue
			}
			whole.entry.Data = append(whole.entry.Data, x)
		}
		whole.entry.Size += part.entry.Size
		whole.data = append(whole.data, part.data...)
	}
	return all
}
