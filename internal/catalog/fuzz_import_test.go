package catalog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/manifest"
)

// zipped makes a manifest of its lines.
func zipped(tb testing.TB, lines []byte) []byte {
	tb.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(lines, nil)
}

func unzipped(tb testing.TB, data []byte) []byte {
	tb.Helper()
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	defer d.Close()
	lines, err := d.DecodeAll(data, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return lines
}

// FuzzImport reads any manifest into a catalog: what it takes is what the manifest
// says, in the order of paths, and the catalog is sound; what it does not take leaves
// nothing that is seen.
func FuzzImport(f *testing.F) {
	set, archives := foreign()
	var b bytes.Buffer
	entries := []capstan.Entry{
		{Path: "a", Kind: capstan.KindDir, Outcome: capstan.OutcomeStored, Mode: 0o755, Location: capstan.Location{Archive: 1}},
		{Path: "a/f", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Size: 3, Hash: capstan.Hash{1}, Location: capstan.Location{Archive: 1, Offset: 512, Size: 3}},
		{Path: "a/l", Kind: capstan.KindHardlink, Link: "a/f", Outcome: capstan.OutcomeStored, Location: capstan.Location{Archive: 2}},
		{Path: "b", Kind: capstan.KindFile, Outcome: capstan.OutcomeFailed, Reason: "unreadable"},
	}
	if err := manifest.Write(&b, set, archives, each(entries)); err != nil {
		f.Fatal(err)
	}
	lines := unzipped(f, b.Bytes())
	f.Add(lines)
	f.Add(bytes.Replace(lines, []byte(`"path":"b"`), []byte(`"path":"a"`), 1))
	f.Add(bytes.Replace(lines, []byte(`"path":"a/f"`), []byte(`"path":"b/x"`), 1))
	f.Add(bytes.ReplaceAll(lines, []byte(`"archive":2`), []byte(`"archive":9`)))
	f.Fuzz(func(t *testing.T, lines []byte) {
		if len(lines) > 64<<10 {
			return
		}
		reader, err := manifest.NewReader(bytes.NewReader(zipped(t, lines)))
		if err != nil {
			return
		}
		defer reader.Close()
		c := openSQLite(t)
		must(t, c.EnsureVolume(t.Context(), capstan.VolumeInfo{ID: volume, Kind: "dir", Location: "/mnt", Created: noon}))
		told := map[string][]capstan.Entry{}
		imported, err := c.Import(t.Context(), reader.Set(), reader.Archives(), volume, func(yield func(capstan.Entry, error) bool) {
			for e, err := range reader.Entries() {
				told[e.Path] = append(told[e.Path], e)
				if !yield(e, err) {
					return
				}
			}
		})
		if problems, checkErr := c.Check(t.Context()); checkErr != nil || len(problems) > 0 {
			t.Fatalf("after %t, %v: %q, %v", imported, err, problems, checkErr)
		}
		if err != nil || !imported {
			if _, err := c.Set(t.Context(), reader.Set().ID); err == nil {
				t.Fatal("a set that was not taken is seen")
			}
			return
		}
		last := ""
		for e, err := range c.Walk(t.Context(), reader.Set().ID, "") {
			if err != nil {
				t.Fatal(err)
			}
			if last != "" && capstan.ComparePaths(last, e.Path) >= 0 {
				t.Fatalf("%q comes after %q", e.Path, last)
			}
			last = e.Path
			if !slices.ContainsFunc(told[e.Path], func(was capstan.Entry) bool {
				return was.Kind == e.Kind && was.Size == e.Size && was.Hash == e.Hash && was.Mode == e.Mode && was.Outcome == e.Outcome &&
					was.Link == e.Link && was.ModTime.Equal(e.ModTime) && was.Archive == e.Archive && was.UID == e.UID && was.Reason == e.Reason
			}) {
				t.Fatalf("%+v was never told, but %+v", e, told[e.Path])
			}
			delete(told, e.Path)
		}
		if len(told) > 0 {
			t.Fatalf("told and not kept: %+v", told)
		}
	})
}

// FuzzCatalog changes a catalog's file anywhere and opens it: whatever it makes of
// that, it ends, and says it as an error or a problem.
func FuzzCatalog(f *testing.F) {
	dir := f.TempDir()
	good := filepath.Join(dir, "good.db")
	c, err := catalog.Open(f.Context(), good, catalog.Options{})
	if err != nil {
		f.Fatal(err)
	}
	if err := c.EnsureVolume(f.Context(), capstan.VolumeInfo{ID: volume, Kind: "dir", Location: "/mnt", Created: noon}); err != nil {
		f.Fatal(err)
	}
	set, archives := foreign()
	if _, err := c.Import(f.Context(), set, archives, volume, each([]capstan.Entry{{Path: "a", Kind: capstan.KindDir, Outcome: capstan.OutcomeStored}})); err != nil {
		f.Fatal(err)
	}
	if err := c.Close(); err != nil {
		f.Fatal(err)
	}
	file, err := os.ReadFile(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{0xff}, len(file))
	f.Add(28, []byte{1, 1}, len(file))
	f.Add(4096+5, []byte{0x40, 0, 0, 0x7f}, len(file))
	f.Add(len(file)-40, []byte("overwritten"), len(file)-4096)
	f.Fuzz(func(t *testing.T, at int, change []byte, cut int) {
		b := bytes.Clone(file)
		for i, x := range change {
			if at+i >= 0 && at+i < len(b) {
				b[at+i] ^= x
			}
		}
		path := filepath.Join(t.TempDir(), "catalog.db")
		must(t, os.WriteFile(path, b[:min(max(cut, 0), len(b))], 0o600))
		begin := time.Now()
		c, err := catalog.Open(t.Context(), path, catalog.Options{Patience: time.Second})
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatal("it fails and says nothing")
			}
			return
		}
		defer func() { _ = c.Close() }() // it may be damaged
		_, _ = c.Check(t.Context())
		if sets, err := c.Sets(t.Context(), catalog.SetFilter{}); err == nil {
			for _, set := range sets {
				for _, err := range c.Walk(t.Context(), set.ID, "") {
					if err != nil {
						break
					}
				}
			}
		}
		if took := time.Since(begin); took > time.Minute {
			t.Fatalf("it took %v", took)
		}
	})
}
