package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/codec"
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

// Contents that fail, shrink, grow or vanish.
func TestTroubledContents(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	data := text(1, 1_200_000)
	tests := map[string]struct {
		change  func(*fakeContent)
		outcome capstan.Outcome
		reason  string
		stored  int // of the bytes of data
	}{
		"fine":            {func(*fakeContent) {}, capstan.OutcomeStored, "", len(data)},
		"small reads":     {func(c *fakeContent) { c.most = 777 }, capstan.OutcomeStored, "", len(data)},
		"shrank":          {func(c *fakeContent) { c.data = c.data[:234_567] }, capstan.OutcomeChanged, "ended after 234567 of 1200000 bytes; the rest is stored as zeros", 234_567},
		"shrank, told":    {func(c *fakeContent) { c.data, c.drift = c.data[:10], "shrank" }, capstan.OutcomeChanged, "shrank; the rest is stored as zeros", 10},
		"shrank to none":  {func(c *fakeContent) { c.data = nil }, capstan.OutcomeChanged, "ended after 0 of", 0},
		"grew":            {func(c *fakeContent) { c.data, c.drift = append(bytes.Clone(c.data), "more"...), "grew" }, capstan.OutcomeChanged, "grew", len(data)},
		"touched":         {func(c *fakeContent) { c.drift = "its time changed" }, capstan.OutcomeChanged, "its time changed", len(data)},
		"fails":           {func(c *fakeContent) { c.data, c.fail = c.data[:200_000], broken }, capstan.OutcomeFailed, "input/output error; the last 1000000 of 1200000 bytes are stored as zeros", 200_000},
		"fails at once":   {func(c *fakeContent) { c.data, c.fail = nil, broken }, capstan.OutcomeFailed, "input/output error", 0},
		"fails in peek":   {func(c *fakeContent) { c.data, c.fail = c.data[:5000], broken }, capstan.OutcomeFailed, "input/output error", 5000},
		"fails to close":  {func(c *fakeContent) { c.closeIs = broken }, capstan.OutcomeFailed, "input/output error", len(data)},
		"vanished":        {func(c *fakeContent) { c.data, c.fail = nil, fs.ErrNotExist }, capstan.OutcomeVanished, "gone before it was read", 0},
		"vanishes later":  {func(c *fakeContent) { c.data, c.fail = c.data[:99_999], fs.ErrNotExist }, capstan.OutcomeFailed, "file does not exist", 99_999},
		"error after all": {func(c *fakeContent) { c.fail = broken }, capstan.OutcomeFailed, "input/output error", len(data)},
	}
	for name, tt := range tests {
		for _, options := range []Options{
			{Codec: capstan.CodecZstd, Workers: 3, FrameSize: 80_000},
			{Codec: capstan.CodecGzip, Workers: 1},
			{Codec: capstan.CodecNone, Workers: 2, ArchiveSize: 400_000},
		} {
			l, sink := &ledger{}, &memorySink{t: t}
			p := NewPacker(t.Context(), options, sink)
			f := file("f", data, true)
			c := l.content(data)
			tt.change(c)
			item := &capstan.Item{Entry: f.entry, Content: c}
			after := file("g", []byte("after"), false)
			for _, item := range []*capstan.Item{item, after.item(l)} {
				if err := p.Add(t.Context(), item); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.check(t)
			e := sink.entries[0]
			if e.Outcome != tt.outcome || !strings.HasPrefix(e.Reason, tt.reason) || (tt.reason == "") != (e.Reason == "") {
				t.Errorf("%s, %s: outcome %v, %q", name, options.Codec, e.Outcome, e.Reason)
			}
			want := make([]byte, len(data))
			copy(want, data[:tt.stored])
			sink.entries[0].Outcome, sink.entries[0].Reason = capstan.OutcomeStored, ""
			readBack(t, sink, options.Codec, []thing{file("f", want, true), after}, 1)
		}
	}
}

// Entries that cannot be stored are told as failed, and cost nothing else.
func TestRefusedEntries(t *testing.T) {
	t.Parallel()
	l, sink := &ledger{}, &memorySink{t: t}
	p := NewPacker(t.Context(), Options{Codec: capstan.CodecZstd}, sink)
	bad := []thing{
		file("a/../b", []byte("x"), false), file("", []byte("x"), true), file("x\x00y", text(1, 2_000_000), true),
		file("f.capstan-part-0001", []byte("x"), true), {entry: capstan.Entry{Path: "s", Kind: capstan.KindSocket}},
	}
	good := file("good", []byte("y"), false)
	all := append(append([]thing{}, bad[:3]...), good)
	all = append(all, bad[3:]...)
	for i := range all {
		if err := p.Add(t.Context(), all[i].item(l)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check(t)
	if len(sink.entries) != len(all) || len(sink.sealed) != 1 || sink.sealed[0].Entries != 1 {
		t.Fatalf("%d entries, %+v", len(sink.entries), sink.sealed)
	}
	for i, e := range sink.entries {
		if e.Path != all[i].entry.Path {
			t.Errorf("entry %d is %q instead of %q", i, e.Path, all[i].entry.Path)
		}
		if e.Path == "good" {
			if e.Outcome != capstan.OutcomeStored || e.Archive != 1 {
				t.Errorf("%+v", e)
			}
		} else if e.Outcome != capstan.OutcomeFailed || e.Reason == "" || e.Location != (capstan.Location{}) || !e.Hash.IsZero() {
			t.Errorf("%q: %v, %q, %+v", e.Path, e.Outcome, e.Reason, e.Location)
		}
	}
}

// Only refused entries: they are delivered though there is no archive.
func TestOnlyRefused(t *testing.T) {
	t.Parallel()
	l, sink := &ledger{}, &memorySink{t: t}
	p := NewPacker(t.Context(), Options{Codec: capstan.CodecGzip}, sink)
	bad := file("..", []byte("x"), true)
	if err := errors.Join(p.Add(t.Context(), bad.item(l)), p.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	l.check(t)
	if len(sink.entries) != 1 || len(sink.files) != 0 {
		t.Errorf("%d entries, %d archives", len(sink.entries), len(sink.files))
	}
}

// A source's mistakes end the run instead of storing nonsense.
func TestContradictions(t *testing.T) {
	t.Parallel()
	f := file("f", []byte("abc"), false)
	tests := map[string]func(*capstan.Item, *ledger){
		"short data":       func(i *capstan.Item, _ *ledger) { i.Data = i.Data[:2] },
		"no data":          func(i *capstan.Item, _ *ledger) { i.Data = nil },
		"data and content": func(i *capstan.Item, l *ledger) { i.Content = l.content(nil) },
		"content of a dir": func(i *capstan.Item, l *ledger) {
			i.Entry.Kind, i.Data, i.Content = capstan.KindDir, nil, l.content(nil)
		},
		"outcome": func(i *capstan.Item, l *ledger) { i.Entry.Outcome = capstan.OutcomeExcluded },
	}
	for name, change := range tests {
		l, sink := &ledger{}, &memorySink{t: t}
		p := NewPacker(t.Context(), Options{Codec: capstan.CodecZstd}, sink)
		item := f.item(l)
		change(item, l)
		err := p.Add(t.Context(), item)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if closeErr := p.Close(t.Context()); !errors.Is(closeErr, err) {
			t.Errorf("%s: Add gave %v, Close %v", name, err, closeErr)
		}
		l.check(t)
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

// Large content that does not compress gets frames of its own, stored.
func TestDenseContents(t *testing.T) {
	t.Parallel()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		things := []thing{
			file("a", text(1, 600_000), true), file("b", noise(1, 5_000_000), true), file("c", noise(2, 1_500_000), true),
			file("d", noise(3, 1_500_000), true), file("e", append(noise(4, 100_000), text(1, 3_000_000)...), true),
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
		if n := len(sink.file(1)); n > 9_300_000 {
			t.Errorf("%s: %d bytes; text after noise was not compressed", c, n)
		}
		b := sink.entries[1]
		if !start[b.Offset+1536] {
			t.Errorf("%s: no frame starts with the content at %d", c, b.Offset)
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
		p := NewPacker(context.Background(), o, sink)
		var good []thing
		for _, path := range []string{one, two} {
			thing := file(path, data, true)
			if _, _, part := tarfile.ParsePartName(path); !part {
				if _, err := tarfile.AppendHeader(nil, &thing.entry, path, int64(len(data))); err == nil {
					good = append(good, thing)
				}
			}
			if err := p.Add(context.Background(), thing.item(l)); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(context.Background()); err != nil {
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

var _ = codec.MaxFrame
