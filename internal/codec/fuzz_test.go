package codec

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"testing"

	"capstan"
)

// FuzzDecode feeds any bytes to every decoder: no panic, no output beyond what
// was asked for, and both zstd engines agree on what is valid.
func FuzzDecode(f *testing.F) {
	for _, c := range allCodecs {
		for _, kind := range []string{"text", "random", "zero"} {
			e := mustEncoder(f, c, 1)
			f.Add(e.Encode(nil, sample(kind, 600)), 600)
			f.Add(e.Store(nil, sample(kind, 3)), 3)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, want int) {
		want = min(want, 1<<20)
		for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
			out, err := mustDecoder(t, c).Decode(nil, src, want)
			if err == nil && len(out) != want {
				t.Fatalf("%s gives %d bytes instead of %d", c, len(out), want)
			}
			if c == capstan.CodecGzip && err == nil {
				if std, err := stdGunzip(src); err != nil || !bytes.Equal(std, out) {
					t.Fatalf("Go's gzip gives %d bytes, %v; we give %d", len(std), err, len(out))
				}
			}
			if c != capstan.CodecZstd || err != nil {
				continue
			}
			if pure, err := pureDecoder(t).Decode(nil, src, want); err == nil && !bytes.Equal(pure, out) {
				t.Fatal("two engines give different content")
			}
		}
	})
}

func stdGunzip(src []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// FuzzRoundTrip encodes any content with every engine and reads it back.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("some content"), 3)
	f.Add(sample("mixed", 3000), 50)
	f.Fuzz(func(t *testing.T, src []byte, times int) {
		src = bytes.Repeat(src, min(max(times, 0), 1000))
		if len(src) > 1<<20 {
			return
		}
		for _, e := range []*Encoder{mustEncoder(t, capstan.CodecZstd, 1), pureEncoder(t, 1), mustEncoder(t, capstan.CodecGzip, 1)} {
			frame := e.Encode(nil, src)
			if len(frame) > e.Bound(len(src)) {
				t.Fatalf("%s: %d bytes exceed the bound for %d", e.codec, len(frame), len(src))
			}
			got, err := mustDecoder(t, e.codec).Decode(nil, frame, len(src))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatalf("%s: %v", e.codec, err)
			}
		}
	})
}

// FuzzIndex reads any bytes as an archive: the lists that come out lie within
// the file, one frame after another; where an index is right, a scan finds the same.
func FuzzIndex(f *testing.F) {
	for _, c := range allCodecs {
		for _, n := range []int{0, 1, 3} {
			file, _ := archive(f, c, n)
			f.Add(file)
			f.Add(AppendIndex(nil, c, nil))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, size := bytes.NewReader(file), int64(len(file))
		for _, c := range allCodecs {
			listed, err := ReadIndex(r, size, c)
			if err == nil {
				checkList(t, listed, size)
			}
			frames, scanErr := ScanFrames(t.Context(), r, size, c)
			if scanErr != nil {
				t.Fatalf("%s: scan fails: %v", c, scanErr)
			}
			checkList(t, frames, size)
			if err == nil && c != capstan.CodecNone && decodes(t, c, file, listed) && !slices.Equal(listed, frames) {
				t.Fatalf("%s: the index lists %+v, a scan finds %+v", c, listed, frames)
			}
		}
	})
}

// decodes reports whether every frame of a list is one.
func decodes(t *testing.T, c capstan.Codec, file []byte, frames []Frame) bool {
	t.Helper()
	d := mustDecoder(t, c)
	for _, f := range frames {
		if f.Length > 1<<20 {
			return false // too much to look at
		}
		if _, err := d.Decode(nil, file[f.Offset:f.Offset+f.Size], int(f.Length)); err != nil {
			return false
		}
	}
	return true
}

func checkList(t *testing.T, frames []Frame, size int64) {
	t.Helper()
	var offset, start int64
	for _, f := range frames {
		if f.Offset < offset || f.Start != start || f.Size <= 0 || f.Length <= 0 || f.Length > MaxFrame || f.Offset+f.Size > size {
			t.Fatalf("frame %+v after offset %d, start %d in a file of %d bytes", f, offset, start, size)
		}
		offset, start = f.Offset+f.Size, f.Start+f.Length
	}
}

func BenchmarkEncode(b *testing.B) {
	src := append(sample("text", 3<<20), sample("random", 1<<20)...)
	engines := map[string]*Encoder{
		Engine: mustEncoder(b, capstan.CodecZstd, 1),
		"pure": pureEncoder(b, 1),
		"gzip": mustEncoder(b, capstan.CodecGzip, 1),
	}
	for name, e := range engines {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			buf := make([]byte, 0, e.Bound(len(src)))
			for b.Loop() {
				buf = e.Encode(buf[:0], src)
			}
		})
	}
}
