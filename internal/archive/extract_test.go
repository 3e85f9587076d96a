package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"capstan"
)

// countingFile counts the bytes that are read of a file.
type countingFile struct {
	*bytes.Reader
	n atomic.Int64
}

func (f *countingFile) ReadAt(p []byte, off int64) (int, error) {
	f.n.Add(int64(len(p)))
	return f.Reader.ReadAt(p, off)
}

// subset picks entries in order.
func subset(entries []capstan.Entry, r *rand.Rand, oneIn int) []capstan.Entry {
	var some []capstan.Entry
	for _, e := range entries {
		if r.IntN(oneIn) == 0 {
			some = append(some, e)
		}
	}
	return some
}

// Any choice of entries, with any memory, workers and manner of reading.
func TestExtractSome(t *testing.T) {
	t.Parallel()
	things := mixed(5, 80)
	data := map[string][]byte{}
	for i := range things {
		data[things[i].entry.Path] = things[i].data
	}
	for _, c := range codecs {
		sink := packAll(t, Options{Codec: c, FrameSize: 20_000}, things)
		r := sink.reader(t, 1, c)
		random := rand.New(rand.NewPCG(1, 2))
		for oneIn := 1; oneIn < 60; oneIn += 7 {
			for _, memory := range []capstan.Bytes{0, 1, 100_000} {
				wanted := subset(sink.entries, random, oneIn)
				var count atomic.Int64
				err := r.Extract(t.Context(), wanted, 1+oneIn%4, memory, func(_ context.Context, x *Extracted) error {
					n := int(count.Add(1))
					want := data[x.Entry.Path]
					switch n % 3 {
					case 0: // not read
						return x.Err
					case 1: // read in part
						want = want[:len(want)/2]
						got := make([]byte, len(want))
						if _, err := io.ReadFull(x.Content, got); err != nil || !bytes.Equal(got, want) {
							t.Errorf("%q: %v", x.Entry.Path, err)
						}
						return x.Err
					}
					var got bytes.Buffer
					if _, err := io.Copy(&got, x.Content); err != nil || !bytes.Equal(got.Bytes(), want) {
						t.Errorf("%q: %v", x.Entry.Path, err)
					}
					return x.Err
				})
				if err != nil || int(count.Load()) != len(wanted) {
					t.Errorf("%s, one in %d: %d of %d, %v", c, oneIn, count.Load(), len(wanted), err)
				}
			}
		}
	}
}

// Only the frames that are needed are read.
func TestExtractReadsLittle(t *testing.T) {
	t.Parallel()
	things := make([]thing, 0, 100)
	for i := range 100 {
		things = append(things, file(fmt.Sprintf("f%03d", i), noise(uint64(i), 50_000), true))
	}
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		sink := packAll(t, Options{Codec: c, FrameSize: 50_000}, things)
		f := &countingFile{Reader: bytes.NewReader(sink.file(1))}
		r, err := OpenReader(f, f.Size(), c)
		if err != nil {
			t.Fatal(err)
		}
		wanted := []capstan.Entry{sink.entries[3], sink.entries[50], sink.entries[51]}
		err = r.Extract(t.Context(), wanted, 2, 0, func(_ context.Context, x *Extracted) error {
			_, err := io.Copy(io.Discard, x.Content)
			return err
		})
		if n := f.n.Load(); err != nil || n > 8*55_000 {
			t.Errorf("%s: %d bytes read for three entries of 50,000, %v", c, n, err)
		}
	}
}

func TestExtractErrors(t *testing.T) {
	t.Parallel()
	things := mixed(6, 50)
	sink := packAll(t, Options{Codec: capstan.CodecZstd, FrameSize: 10_000}, things)
	r := sink.reader(t, 1, capstan.CodecZstd)
	stop := errors.New("stop")
	for after := range 20 {
		var count atomic.Int64
		err := r.Extract(t.Context(), sink.entries, 3, 30_000, func(_ context.Context, x *Extracted) error {
			if int(count.Add(1)) > after {
				return stop
			}
			_, err := io.Copy(io.Discard, x.Content)
			return err
		})
		if !errors.Is(err, stop) {
			t.Errorf("handler's error after %d: %v", after, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		count.Store(0)
		err = r.Extract(ctx, sink.entries, 3, 30_000, func(ctx context.Context, x *Extracted) error {
			if int(count.Add(1)) > after {
				cancel(stop)
				<-ctx.Done()
			}
			_, err := io.Copy(io.Discard, x.Content)
			return err
		})
		cancel(nil)
		if !errors.Is(err, stop) {
			t.Errorf("cancelled after %d: %v", after, err)
		}
	}
	nothing := func(context.Context, *Extracted) error { return nil }
	twice := []capstan.Entry{sink.entries[1], sink.entries[1]}
	if err := r.Extract(t.Context(), twice, 1, 0, nothing); err == nil {
		t.Error("the same offset twice was accepted")
	}
	parts := []capstan.Entry{{Path: "x", Kind: capstan.KindFile, Parts: make([]capstan.Part, 2)}}
	if err := r.Extract(t.Context(), parts, 1, 0, nothing); err == nil {
		t.Error("an entry in parts was accepted")
	}
	if err := r.Extract(t.Context(), nil, 0, 0, nothing); err != nil {
		t.Errorf("nothing wanted: %v", err)
	}
}

// Entries that are not what the archive holds are noticed, and only these.
func TestExtractMismatch(t *testing.T) {
	t.Parallel()
	things := []thing{file("a", text(1, 5000), false), file("b", text(2, 5000), false), file("c", text(3, 5000), false)}
	things = append(things, thing{entry: capstan.Entry{Path: "d", Kind: capstan.KindSymlink, Link: "x"}})
	sink := packAll(t, Options{Codec: capstan.CodecZstd, FrameSize: 3000}, things)
	r := sink.reader(t, 1, capstan.CodecZstd)
	tests := map[string]func(e []capstan.Entry){
		"path":     func(e []capstan.Entry) { e[1].Path = "x" },
		"kind":     func(e []capstan.Entry) { e[1].Kind = capstan.KindFifo },
		"size":     func(e []capstan.Entry) { e[1].Location.Size--; e[1].Size-- },
		"more":     func(e []capstan.Entry) { e[1].Location.Size += 5000; e[1].Size += 5000 },
		"negative": func(e []capstan.Entry) { e[1].Location.Size = -5 },
		"hash":     func(e []capstan.Entry) { e[1].Hash[0]++ },
		"offset":   func(e []capstan.Entry) { e[1].Offset += 512 },
		"target":   func(e []capstan.Entry) { e[3].Link = "y" },
		"after":    func(e []capstan.Entry) { e[3].Offset = 1 << 40 },
		"before":   func(e []capstan.Entry) { e[0].Offset = -100 },
	}
	for name, change := range tests {
		entries := append([]capstan.Entry(nil), sink.entries...)
		change(entries)
		var mu sync.Mutex
		wrong := 0
		err := r.Extract(t.Context(), entries, 2, 0, func(_ context.Context, x *Extracted) error {
			_, err := io.Copy(io.Discard, x.Content)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				wrong++
				if !errors.Is(err, capstan.ErrDamaged) || (x.Err != nil && !errors.Is(x.Err, capstan.ErrDamaged)) {
					t.Errorf("%s: %v, %v", name, err, x.Err)
				}
			}
			return nil
		})
		if err != nil || wrong != 1 {
			t.Errorf("%s: %d entries are wrong, %v", name, wrong, err)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	things := mixed(9, 40)
	for _, c := range codecs {
		sink := packAll(t, Options{Codec: c, FrameSize: 30_000}, things)
		r := sink.reader(t, 1, c)
		for i := range sink.entries {
			e := &sink.entries[i]
			content, err := r.Open(t.Context(), e.Location)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(content)
			if err := errors.Join(err, content.Close()); err != nil || !bytes.Equal(got, things[i].data) {
				t.Errorf("%q: %v", e.Path, err)
			}
			if _, err := content.Read(make([]byte, 1)); err == nil {
				t.Errorf("%q: readable after Close", e.Path)
			}
			h, content, err := r.OpenHeader(t.Context(), capstan.Location{Offset: e.Offset})
			if err != nil || h.Entry.Path != e.Path || h.Entry.Location.Size != e.Location.Size {
				t.Errorf("%q: header %+v, %v", e.Path, h, err)
			}
			if err := content.Close(); err != nil {
				t.Error(err)
			}
		}
		for name, loc := range map[string]capstan.Location{
			"size": {Offset: sink.entries[2].Offset, Size: sink.entries[2].Location.Size + 1}, "middle": {Offset: 100},
			"end": {Offset: r.TarSize() - 1024}, "behind": {Offset: r.TarSize()}, "negative": {Offset: -1},
		} {
			if _, err := r.Open(t.Context(), loc); !errors.Is(err, capstan.ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A file that cannot be read is not called damaged.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("medium error")
	things := []thing{file("a", text(1, 50_000), false), file("b", noise(2, 50_000), false), file("c", text(3, 50_000), false)}
	sink := packAll(t, Options{Codec: capstan.CodecZstd, FrameSize: 10_000}, things)
	f := &brokenFile{Reader: bytes.NewReader(sink.file(1)), err: broken}
	r, err := OpenReader(f, f.Size(), capstan.CodecZstd)
	if err != nil {
		t.Fatal(err)
	}
	b := r.Frames()[r.frameAt(sink.entries[1].Offset+20_000)]
	f.from, f.to = b.Offset, b.Offset+b.Size
	err = r.Extract(t.Context(), sink.entries, 2, 0, func(_ context.Context, x *Extracted) error {
		_, err := io.Copy(io.Discard, x.Content)
		if (err != nil) != (x.Entry.Path == "b") || errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%q: %v", x.Entry.Path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// brokenFile cannot be read in a range.
type brokenFile struct {
	*bytes.Reader
	from, to int64
	err      error
}

func (f *brokenFile) ReadAt(p []byte, off int64) (int, error) {
	if off < f.to && off+int64(len(p)) > f.from {
		return 0, f.err
	}
	return f.Reader.ReadAt(p, off)
}
