package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"capstan"
)

// benchThings is 64 MiB of mixed data: many small files, some large ones, a
// quarter of it incompressible.
func benchThings() (things []thing, size int64) {
	for i := range 1000 {
		things = append(things, file(fmt.Sprintf("small/%04d", i), text(uint64(i), 1000+i*20), false))
	}
	for i := range 12 {
		things = append(things, file(fmt.Sprintf("text/%02d", i), text(uint64(i), 3<<20), true))
	}
	for i := range 4 {
		things = append(things, file(fmt.Sprintf("noise/%02d", i), noise(uint64(i), 4<<20), true))
	}
	for i := range things {
		size += int64(len(things[i].data))
	}
	return things, size
}

type discardSink struct{ size int64 }

func (s *discardSink) Begin(context.Context) (capstan.ArchiveNumber, io.Writer, error) {
	return 1, io.Discard, nil
}
func (s *discardSink) Entries(context.Context, []capstan.Entry) error { return nil }
func (s *discardSink) Sealed(_ context.Context, a capstan.Archive) error {
	s.size = a.Size
	return nil
}

func BenchmarkPack(b *testing.B) {
	things, size := benchThings()
	for i := range things {
		if !things[i].content {
			things[i].entry.Hash = sha256.Sum256(things[i].data)
		}
	}
	for _, c := range codecs {
		b.Run(string(c), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			sink := &discardSink{}
			for b.Loop() {
				l := &ledger{}
				p := NewPacker(b.Context(), Options{Codec: c}, sink)
				for i := range things {
					item := &capstan.Item{Entry: things[i].entry, Data: things[i].data}
					if things[i].content {
						item.Data, item.Content = nil, l.content(things[i].data)
					}
					if err := p.Add(b.Context(), item); err != nil {
						b.Fatal(err)
					}
				}
				if err := p.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(sink.size)/float64(size), "out/in")
		})
	}
}

func BenchmarkExtract(b *testing.B) {
	things, size := benchThings()
	for _, c := range codecs {
		b.Run(string(c), func(b *testing.B) {
			sink := packAll(b, Options{Codec: c}, things)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				file := sink.file(1)
				r, err := OpenReader(bytes.NewReader(file), int64(len(file)), c)
				if err != nil {
					b.Fatal(err)
				}
				err = r.Extract(b.Context(), sink.entries, 2, 64<<20, func(_ context.Context, x *Extracted) error {
					_, err := io.Copy(io.Discard, x.Content)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
