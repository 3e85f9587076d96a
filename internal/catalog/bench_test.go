package catalog_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

const (
	benchJob    capstan.JobKey   = "bench"
	benchVolume capstan.VolumeID = "bench"
)

// tree is a directory tree of realistic shape: 16 files in a directory of which
// each has its own times, inode and hash, and 64 directories in one above.
type tree struct {
	random *rand.Rand
	at     int
	offset int64
	number capstan.ArchiveNumber
	needle int // index of the file that has a name of its own; 0: none
}

func newTree() *tree { return &tree{random: rand.New(rand.NewPCG(1, 2)), number: 1} }

// next fills entries in the order of the walk.
func (g *tree) next(entries []capstan.Entry) {
	for i := range entries {
		e := &entries[i]
		dir, file := g.at/17, g.at%17
		*e = capstan.Entry{
			Path: fmt.Sprintf("data/project-%05d/source-%02d", dir/64, dir%64), Kind: capstan.KindDir,
			Outcome: capstan.OutcomeStored, Mode: 0o755, UID: 1000, GID: 1000, User: "somebody", Group: "somebody",
			ModTime: time.Unix(1_700_000_000+g.random.Int64N(1<<24), g.random.Int64N(1e9)), Links: 2, Dev: 2049, Ino: g.random.Uint64N(1 << 31),
		}
		e.ChangeTime = e.ModTime.Add(time.Duration(g.random.Int64N(1 << 50)))
		if file > 0 {
			if g.needle == g.at && g.at > 0 {
				e.Path += "/" + needle
			} else {
				e.Path += fmt.Sprintf("/some-file-%03d.go", file)
			}
			e.Kind, e.Mode, e.Links = capstan.KindFile, 0o644, 1
			e.Size = g.random.Int64N(200_000)
			for b := 0; b < len(e.Hash); b += 8 {
				binary.LittleEndian.PutUint64(e.Hash[b:], g.random.Uint64())
			}
		}
		e.Location = capstan.Location{Archive: g.number, Offset: g.offset, Size: e.Size}
		if g.offset += e.Size + 512; g.offset > 4<<30 {
			g.number, g.offset = g.number+1, 0
		}
		g.at++
	}
}

func benchCatalog(b *testing.B, dir string) (*catalog.Catalog, capstan.Set) {
	b.Helper()
	c, err := catalog.Open(b.Context(), filepath.Join(dir, "catalog.db"), catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := c.EnsureJob(b.Context(), benchJob, "bench", []string{"/data"}, nil); err != nil {
		b.Fatal(err)
	}
	if err := c.EnsureVolume(b.Context(), capstan.VolumeInfo{ID: benchVolume, Kind: "dir", Location: "/mnt"}); err != nil {
		b.Fatal(err)
	}
	set, err := c.BeginSet(b.Context(), benchJob, "host", capstan.CodecZstd, []string{"/data"}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	return c, set
}

// fill adds n entries, with an archive for each 4 GiB.
func fill(b *testing.B, c *catalog.Catalog, set capstan.SetID, n int) {
	b.Helper()
	fillFrom(b, c, set, n, newTree())
}

func fillFrom(b *testing.B, c *catalog.Catalog, set capstan.SetID, n int, g *tree) {
	b.Helper()
	ctx := b.Context()
	w := c.NewEntryWriter(ctx, set)
	planned := capstan.ArchiveNumber(0)
	entries := make([]capstan.Entry, 512)
	for done := 0; done < n; done += len(entries) {
		entries = entries[:min(len(entries), n-done)]
		g.next(entries)
		for ; planned < g.number; planned++ {
			if _, err := c.PlanArchive(ctx, set, capstan.CodecZstd); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Add(ctx, entries); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkEntries adds a million entries to an empty set.
func BenchmarkEntries(b *testing.B) {
	const n = 1 << 20
	for b.Loop() {
		dir := b.TempDir()
		c, set := benchCatalog(b, dir)
		start := time.Now()
		fill(b, c, set.ID, n)
		elapsed := time.Since(start)
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "catalog.db"))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(n/elapsed.Seconds(), "entries/s")
		b.ReportMetric(float64(info.Size())/n, "bytes/entry")
	}
}

// BenchmarkRead reads a set of a million entries: one directory at random, all
// in order, the counts, names, and an open and close of the whole.
func BenchmarkRead(b *testing.B) {
	const n = 1 << 20
	ctx := b.Context()
	dir := b.TempDir()
	c, set := benchCatalog(b, dir)
	fill(b, c, set.ID, n)
	for number := range capstan.ArchiveNumber(40) {
		archive := capstan.Archive{Set: set.ID, Number: number + 1, Entries: n}
		if err := c.CommitArchive(ctx, archive, capstan.CopyWritten, []capstan.VolumeID{benchVolume}); err != nil {
			break // there are no more
		}
	}
	if err := c.SetStatus(ctx, set.ID, capstan.RunComplete, capstan.Counts{}); err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	b.Run("Children", func(b *testing.B) {
		for b.Loop() {
			at := random.IntN(n / 17)
			list, err := c.Children(ctx, set.ID, fmt.Sprintf("data/project-%05d/source-%02d", at/64, at%64))
			if err != nil || len(list) == 0 {
				b.Fatal(len(list), err)
			}
		}
	})
	b.Run("Entry", func(b *testing.B) {
		for b.Loop() {
			at := random.IntN(n / 17)
			if _, found, err := c.Entry(ctx, set.ID, fmt.Sprintf("data/project-%05d/source-%02d/some-file-003.go", at/64, at%64)); err != nil || !found {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("Walk", func(b *testing.B) {
		for b.Loop() {
			count := 0
			for _, err := range c.Walk(ctx, set.ID, "") {
				if err != nil {
					b.Fatal(err)
				}
				count++
			}
			if count != n {
				b.Fatalf("%d entries, want %d", count, n)
			}
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	for _, glob := range []string{"some-file-007.go", "*7.none", "*e-1*", "data/project-00007/**/*1.go"} {
		b.Run("Find/"+strings.ReplaceAll(glob, "/", "_"), func(b *testing.B) {
			for b.Loop() {
				for _, err := range c.Find(ctx, catalog.FindQuery{Glob: glob, Limit: 1000}) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	b.Run("Count", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.CountOutcomes(ctx, set.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Check", func(b *testing.B) {
		for b.Loop() {
			if problems, err := c.Check(ctx); err != nil || len(problems) > 0 {
				b.Fatal(problems, err)
			}
		}
	})
	b.Run("CopyRecords", func(b *testing.B) {
		for b.Loop() {
			if err := c.CopyTo(ctx, filepath.Join(dir, "copy"), false); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			c, err := catalog.Open(ctx, filepath.Join(dir, "catalog.db"), catalog.Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := c.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEntriesAgain writes a million entries over the same million, as a
// resumed run does that finds all unchanged, and then discards them.
func BenchmarkEntriesAgain(b *testing.B) {
	const n = 1 << 20
	c, set := benchCatalog(b, b.TempDir())
	fill(b, c, set.ID, n)
	b.Run("Replace", func(b *testing.B) {
		for b.Loop() {
			fill(b, c, set.ID, n)
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	b.Run("Discard", func(b *testing.B) {
		start := time.Now()
		_, entries, err := c.DiscardUnsealed(b.Context(), set.ID)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(entries)/time.Since(start).Seconds(), "entries/s")
	})
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
}
