package catalog_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"capstan"
)

// The bench program makes its large catalog with these.
var (
	largeEntries = flag.Int("large-entries", 1<<20, "entries that BenchmarkLarge adds")
	largeHome    = flag.String("large-home", "", "directory in which BenchmarkLarge leaves catalog.db; empty: a temporary one")
)

// needle is the name of one file in the middle of the large catalog.
const needle = "needle-in-the-haystack.go"

// BenchmarkLarge adds entries to an empty set, until they are durable and the write-ahead
// log is empty, and ends the set, so that capstan ls and capstan find show it.
func BenchmarkLarge(b *testing.B) {
	dir := *largeHome
	if dir == "" {
		dir = b.TempDir()
	}
	c, set := benchCatalog(b, dir)
	start := time.Now()
	g := newTree()
	g.needle = *largeEntries/2/17*17 + 8
	fillFrom(b, c, set.ID, *largeEntries, g)
	for number := capstan.ArchiveNumber(1); number <= g.number; number++ {
		archive := capstan.Archive{Set: set.ID, Number: number}
		if err := c.CommitArchive(b.Context(), archive, capstan.CopyWritten, []capstan.VolumeID{benchVolume}); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.SetStatus(b.Context(), set.ID, capstan.RunComplete, capstan.Counts{}); err != nil {
		b.Fatal(err)
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	elapsed := time.Since(start)
	info, err := os.Stat(filepath.Join(dir, "catalog.db"))
	if err != nil {
		b.Fatal(err)
	}
	n := float64(*largeEntries)
	b.ReportMetric(n/elapsed.Seconds(), "entries/s")
	b.ReportMetric(float64(info.Size())/n, "bytes/entry")
}
