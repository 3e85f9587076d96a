package catalog_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"capstan"
	"capstan/internal/catalog"
)

const benchJob capstan.JobKey = "bench"

// tree is a directory tree of realistic shape: 16 files in a directory of which
// each has its own times, inode and hash, and 64 directories in one above.
type tree struct {
	random *rand.Rand
	at     int
	offset int64
	number capstan.ArchiveNumber
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
			e.Path += fmt.Sprintf("/some-file-%03d.go", file)
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
	set, err := c.BeginSet(b.Context(), benchJob, "host", capstan.CodecZstd, []string{"/data"}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	return c, set
}

// fill adds n entries, with an archive for each 4 GiB.
func fill(b *testing.B, c *catalog.Catalog, set capstan.SetID, n int) {
	b.Helper()
	ctx := context.Background()
	w := c.NewEntryWriter(ctx, set)
	g := newTree()
	planned := capstan.ArchiveNumber(0)
	entries := make([]capstan.Entry, 512)
	for done := 0; done < n; done += len(entries) {
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
