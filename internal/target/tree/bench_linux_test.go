package tree

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan"
)

// BenchmarkPlace restores small files, thirty to a directory, from one goroutine.
// TMPDIR chooses the filesystem. The CPU time, which other work on the machine
// disturbs less than the wall time, is that of the kernel too.
func BenchmarkPlace(b *testing.B) {
	content := bytes.Repeat([]byte("capstan "), 750)
	for name, naming := range namings() {
		b.Run(name, func(b *testing.B) {
			tree, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			tree.naming = naming
			e := capstan.Entry{
				Kind: capstan.KindFile, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(1_500_000_000, 1),
				UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
			}
			folder := capstan.Entry{Kind: capstan.KindDir, Mode: 0o755, ModTime: e.ModTime, UID: e.UID, GID: e.GID}
			r := bytes.NewReader(content)
			before := cpuTime(b)
			b.SetBytes(e.Size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				dir := fmt.Sprintf("d%d", i/30)
				if i%30 == 0 {
					if err := tree.Dir(b.Context(), dir); err != nil {
						b.Fatal(err)
					}
				}
				r.Reset(content)
				if err := tree.Place(b.Context(), fmt.Sprintf("%s/file-%d.txt", dir, i%30), &e, r); err != nil {
					b.Fatal(err)
				}
				if i%30 == 29 {
					if err := tree.FinishDir(b.Context(), dir, &folder); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			if err := tree.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
