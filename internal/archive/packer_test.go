package archive

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"capstan"
	"capstan/internal/tarfile"
)

func TestPackAndRead(t *testing.T) {
	t.Parallel()
	for _, c := range codecs {
		for workers := 1; workers <= 4; workers++ {
			for name, options := range map[string]Options{
				"defaults":    {},
				"tiny memory": {Memory: 1},
				"tiny frames": {FrameSize: 5000, Memory: 1 << 20},
				"splitting":   {FrameSize: 64 << 10, ArchiveSize: 400 << 10},
			} {
				t.Run(fmt.Sprintf("%s/%d/%s", c, workers, name), func(t *testing.T) {
					t.Parallel()
					things := mixed(uint64(workers), 40)
					options.Codec, options.Workers = c, workers
					sink := packAll(t, options, things)
					readBack(t, sink, c, things, workers)
				})
			}
		}
	}
}

// Where frames are single blocks, the mark that ends an archive fills its frame, and
// the last one is empty; where they are two, an archive's last frame holds it alone.
func TestFramesOfBlocks(t *testing.T) {
	t.Parallel()
	for _, c := range codecs {
		for blocks := 1; blocks <= 3; blocks++ {
			things := []thing{file("small", text(1, 3000), false), file("large", noise(2, 20_000), true), file("empty", nil, false)}
			options := Options{Codec: c, Workers: 2, FrameSize: blocks * tarfile.Block, ArchiveSize: MinArchive}
			readBack(t, packAll(t, options, things), c, things, 2)
		}
	}
}

// What is in the tar streams does not depend on workers, memory or codec.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	things := mixed(7, 80)
	var first [][]byte
	for _, c := range codecs {
		for _, o := range []Options{{Workers: 1}, {Workers: 3, FrameSize: 10_000}, {Workers: 2, Memory: 1}} {
			o.Codec, o.ArchiveSize = c, 500<<10
			sink := packAll(t, o, things)
			var streams [][]byte
			for _, a := range sink.sealed {
				streams = append(streams, tarStream(t, sink.reader(t, a.Number, c)))
			}
			if first == nil {
				first = streams
			}
			if !reflect.DeepEqual(streams, first) {
				t.Errorf("%s, %+v: another tar stream", c, o)
			}
		}
	}
	if len(first) < 5 {
		t.Errorf("%d archives only", len(first))
	}
	for i, s := range first {
		if len(s) > 500<<10 || len(s)%tarfile.Block != 0 {
			t.Errorf("archive %d holds %d bytes", i+1, len(s))
		}
	}
}

func tarStream(t testing.TB, r *Reader) []byte {
	t.Helper()
	var b []byte
	for i := range r.Frames() {
		var err error
		if b, err = r.ReadFrame(b, i); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestNothing(t *testing.T) {
	t.Parallel()
	sink := packAll(t, Options{Codec: capstan.CodecZstd}, nil)
	if len(sink.files) != 0 || len(sink.entries) != 0 {
		t.Errorf("%d archives and %d entries of nothing", len(sink.files), len(sink.entries))
	}
}

// Archive numbers are the sink's.
func TestNumbers(t *testing.T) {
	t.Parallel()
	things := []thing{file("a", text(1, 50_000), false), file("b", text(2, 300_000), true), file("c", text(3, 10), false)}
	sink := &memorySink{t: t, first: 17}
	p := NewPacker(t.Context(), Options{Codec: capstan.CodecZstd, ArchiveSize: 100 << 10}, sink)
	for i := range things {
		if err := p.Add(t.Context(), things[i].item(&ledger{})); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	readBack(t, sink, capstan.CodecZstd, things, 2)
	b := sink.entries[1]
	if len(b.Parts) < 4 || b.Parts[0].Archive != 17 || b.Parts[1].Archive != 18 || b.Location != b.Parts[0].Location {
		t.Errorf("parts are %+v of %+v", b.Parts, b.Location)
	}
	next := int64(0)
	for _, part := range b.Parts {
		if part.Start != next || part.Length != part.Size {
			t.Errorf("part %+v at %d", part, next)
		}
		next += part.Length
	}
	if next != b.Size {
		t.Errorf("parts end at %d of %d", next, b.Size)
	}
}

// A part fills the rest of an archive only if that is worth it.
func TestSplitStart(t *testing.T) {
	t.Parallel()
	for before, want := range map[int]capstan.ArchiveNumber{1000: 1, 60_000: 1, 85_000: 2} {
		things := []thing{file("a", text(1, before), false), file("b", noise(2, 300_000), true)}
		sink := packAll(t, Options{Codec: capstan.CodecNone, ArchiveSize: 100 << 10}, things)
		readBack(t, sink, capstan.CodecNone, things, 1)
		if got := sink.entries[1].Parts[0].Archive; got != want {
			t.Errorf("after %d bytes the first part is in archive %d", before, got)
		}
	}
}

// No archive holds parts of two files: one that is cut off within the second can be
// taken back without the first.
func TestSplitNeighbours(t *testing.T) {
	t.Parallel()
	things := []thing{
		file("a", noise(1, 130_000), true), file("b", noise(2, 110_000), true), file("c", text(3, 1000), false),
		file("d", noise(4, 250_000), true), file("e", noise(5, 200_000), true),
	}
	sink := packAll(t, Options{Codec: capstan.CodecNone, ArchiveSize: 100 << 10}, things)
	readBack(t, sink, capstan.CodecNone, things, 1)
	of := map[capstan.ArchiveNumber]string{}
	for _, e := range sink.entries {
		for _, part := range e.Parts {
			if other := of[part.Archive]; other != "" && other != e.Path {
				t.Errorf("archive %d holds parts of %s and %s", part.Archive, other, e.Path)
			}
			of[part.Archive] = e.Path
		}
	}
	if len(of) < 8 {
		t.Errorf("%d archives hold parts", len(of))
	}
}

func TestSplitSparse(t *testing.T) {
	t.Parallel()
	f := file("s", nil, true)
	f.entry.Sparse, f.entry.Size = true, 1<<40+5
	for i := range int64(300) {
		f.entry.Data = append(f.entry.Data, capstan.Extent{Offset: i<<30 + 512*i, Length: 512 * (1 + i%7)})
	}
	f.entry.Data = append(f.entry.Data, capstan.Extent{Offset: 1 << 39, Length: 512 * 400}, capstan.Extent{Offset: 1 << 40, Length: 5})
	f.data = noise(1, int(f.entry.StoredSize()))
	original := append([]capstan.Extent(nil), f.entry.Data...)
	things := []thing{f}
	sink := packAll(t, Options{Codec: capstan.CodecZstd, ArchiveSize: 128 << 10}, things)
	readBack(t, sink, capstan.CodecZstd, things, 2)
	e := sink.entries[0]
	if len(e.Parts) < 5 || !reflect.DeepEqual(e.Data, original) {
		t.Errorf("%d parts, ranges changed: %v", len(e.Parts), !reflect.DeepEqual(e.Data, original))
	}
	next := int64(0)
	for i, part := range e.Parts {
		if part.Start != next || part.Length <= 0 {
			t.Errorf("part %d covers %d+%d after %d", i, part.Start, part.Length, next)
		}
		next += part.Length
	}
	if next != e.Size {
		t.Errorf("parts end at %d of %d", next, e.Size)
	}
	for _, a := range sink.sealed {
		if a.TarSize > 128<<10 {
			t.Errorf("archive %d has %d bytes", a.Number, a.TarSize)
		}
	}
}

// An entry that no part of can be small enough makes an oversized archive.
func TestHugeHeader(t *testing.T) {
	t.Parallel()
	big := file("big", text(1, 30_000), true)
	big.entry.Xattrs = []capstan.Xattr{{Name: "user.a", Value: noise(1, 60_000)}}
	things := []thing{file("a", text(1, 1000), false), big, file("c", text(1, 1000), false)}
	sink := packAll(t, Options{Codec: capstan.CodecZstd, ArchiveSize: MinArchive}, things)
	readBack(t, sink, capstan.CodecZstd, things, 1)
	if len(sink.sealed) != 3 || len(sink.entries[1].Parts) != 0 {
		t.Errorf("%d archives, parts %v", len(sink.sealed), sink.entries[1].Parts)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"codec": {Codec: "lz4"}, "level": {Codec: capstan.CodecGzip, Level: 12}, "archive": {Codec: capstan.CodecZstd, ArchiveSize: 100},
	} {
		l := &ledger{}
		f := file("f", []byte("x"), true)
		p := NewPacker(t.Context(), o, &memorySink{t: t})
		err := p.Add(t.Context(), f.item(l))
		if closeErr := p.Close(t.Context()); err == nil || !errors.Is(closeErr, err) {
			t.Errorf("%s: Add gave %v, Close %v", name, err, closeErr)
		}
		l.check(t)
	}
	for _, tt := range []struct {
		workers, memory       int
		frame, slots, wantsTo int
	}{
		{2, 0, 4 << 20, 6, 2},
		{2, 128 << 20, 4 << 20, 6, 2},
		{2, 40 << 20, 4 << 20, 4, 2},
		{2, 20 << 20, 2 << 20, 4, 2},
		{2, 7 << 20, 1 << 20, 3, 1},
		{2, 6 << 20, 512 << 10, 5, 2},
		{2, 1, 256 << 10, 3, 1},
		{16, 64 << 20, 1 << 20, 31, 16},
		{64, 64 << 20, 1 << 20, 31, 29},
	} {
		o := Options{Codec: capstan.CodecZstd, Workers: tt.workers, Memory: capstan.Bytes(tt.memory)}
		p, err := o.plan()
		if err != nil || p.frame != tt.frame || p.slots != tt.slots || p.workers != tt.wantsTo {
			t.Errorf("%+v: %+v, %v", tt, p, err)
		}
		if used := int64(p.slots) * p.slotSize(); tt.memory > 3<<20 && used > int64(tt.memory) {
			t.Errorf("%+v takes %d bytes", tt, used)
		}
	}
}

// Large content that does not compress gets frames of its own, stored. What is shorter
// than a frame gets them from gzip alone.
func TestDenseContents(t *testing.T) {
	t.Parallel()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		things := []thing{
			file("a", text(1, 600_000), true), file("b", noise(1, 5_000_000), true), file("c", noise(2, 4_500_000), true),
			file("d", noise(3, 4_500_000), true), file("e", append(noise(4, 100_000), text(1, 4_500_000)...), true),
			file("f", text(2, 400_000), true), file("g", noise(5, 1_500_000), true),
		}
		sink := packAll(t, Options{Codec: c}, things)
		readBack(t, sink, c, things, 2)
		stored, start := 0, map[int64]bool{}
		for _, f := range sink.reader(t, 1, c).Frames() {
			start[f.Start] = true
			if f.Size > f.Length {
				stored++
			}
		}
		if stored < 3 {
			t.Errorf("%s: %d frames are stored as they are", c, stored)
		}
		if n := len(sink.file(1)); n > 17_400_000 {
			t.Errorf("%s: %d bytes; text after noise was not compressed", c, n)
		}
		b := sink.entries[1]
		if !start[b.Offset+1536] {
			t.Errorf("%s: no frame starts with the content at %d", c, b.Offset)
		}
		if g := sink.entries[6]; start[g.Offset+1536] != (c == capstan.CodecGzip) {
			t.Errorf("%s: whether a frame starts with a content shorter than one: %v", c, start[g.Offset+1536])
		}
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	l, sink := &ledger{}, &memorySink{t: t}
	var packed, wrote int64
	open := map[string]string{}
	seen := map[string]bool{}
	hooks := Hooks{
		Packed: func(n int64) { l.mu.Lock(); packed += n; l.mu.Unlock() },
		Wrote:  func(n int64) { l.mu.Lock(); wrote += n; l.mu.Unlock() },
		Wait: func(stage, on string) func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if open[stage] != "" {
				l.bad = append(l.bad, "two waits of "+stage+" at a time")
			}
			open[stage], seen[stage+" "+on] = on, true
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(open, stage)
			}
		},
	}
	p := NewPacker(t.Context(), Options{Codec: capstan.CodecZstd, Workers: 2, FrameSize: 20_000, Hooks: hooks}, sink)
	things := mixed(3, 50)
	for i := range things {
		if err := p.Add(t.Context(), things[i].item(l)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check(t)
	if packed != sink.sealed[0].TarSize || wrote != sink.sealed[0].Size || len(open) != 0 {
		t.Errorf("packed %d, wrote %d of %+v; open: %v", packed, wrote, sink.sealed[0], open)
	}
	for _, want := range []string{StageWrite + " " + OnVolume, StageLayout + " " + StagePack} {
		if !seen[want] {
			t.Errorf("no wait %q among %v", want, seen)
		}
	}
}

// FuzzPack packs entries of any names and contents and reads them back.
func FuzzPack(f *testing.F) {
	f.Add("a", "b/c", []byte("content"), 10, uint16(3))
	f.Add("a\xff", "日本/x=y", []byte{0}, 100_000, uint16(5000))
	f.Fuzz(func(t *testing.T, one, two string, data []byte, times int, frame uint16) {
		data = bytes.Repeat(data, max(0, min(times, 200_000/(len(data)+1))))
		sink := &memorySink{t: t}
		l := &ledger{}
		o := Options{Codec: codecs[int(frame)%3], FrameSize: int(frame), Workers: 2, ArchiveSize: MinArchive}
		p := NewPacker(t.Context(), o, sink)
		var good []thing
		for _, path := range []string{one, two} {
			thing := file(path, data, true)
			if _, _, part := tarfile.ParsePartName(path); !part {
				if _, err := tarfile.AppendHeader(nil, &thing.entry, path, int64(len(data))); err == nil {
					good = append(good, thing)
				}
			}
			if err := p.Add(t.Context(), thing.item(l)); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.check(t)
		var kept []capstan.Entry
		for _, e := range sink.entries {
			if e.Outcome == capstan.OutcomeStored {
				kept = append(kept, e)
			}
		}
		sink.entries = kept
		if one != two {
			readBack(t, sink, o.Codec, good, 2)
		}
	})
}
