package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"capstan"
)

// archive makes a file of n frames of several kinds, with its index.
func archive(t testing.TB, c capstan.Codec, n int) (file []byte, frames []Frame) {
	t.Helper()
	e := mustEncoder(t, c, 1)
	start := int64(0)
	for i := range n {
		src := sample([]string{"text", "random", "mixed", "zero"}[i%4], 1000+i*777)
		off := int64(len(file))
		file = e.Encode(file, src)
		frames = append(frames, Frame{Offset: off, Size: int64(len(file)) - off, Start: start, Length: int64(len(src))})
		start += int64(len(src))
	}
	return AppendIndex(file, c, frames), frames
}

func TestIndexRoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		for _, n := range []int{0, 1, 2, 9} {
			file, frames := archive(t, c, n)
			got, err := ReadIndex(bytes.NewReader(file), int64(len(file)), c)
			if err != nil || len(got) != n || (n > 0 && !reflect.DeepEqual(got, frames)) {
				t.Errorf("%s, %d frames: %v, %v", c, n, got, err)
			}
			got, err = ScanFrames(t.Context(), bytes.NewReader(file), int64(len(file)), c)
			if err != nil || len(got) != n || (n > 0 && !reflect.DeepEqual(got, frames)) {
				t.Errorf("%s, %d frames scanned: %v, %v", c, n, got, err)
			}
		}
	}
}

func TestVirtualFrames(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]int{0: 0, 1: 1, VirtualFrame: 1, VirtualFrame + 1: 2, 10 * VirtualFrame: 10} {
		frames, err := ReadIndex(nil, size, capstan.CodecNone)
		if err != nil || len(frames) != want {
			t.Fatalf("%d bytes: %d frames, %v", size, len(frames), err)
		}
		end := int64(0)
		for _, f := range frames {
			if f.Offset != end || f.Start != end || f.Size != f.Length || f.Length < 1 {
				t.Errorf("%d bytes: frame %+v at %d", size, f, end)
			}
			end += f.Length
		}
		if end != size {
			t.Errorf("%d bytes: frames end at %d", size, end)
		}
	}
}

// A gzip index of more frames than one extra field can hold.
func TestLongIndex(t *testing.T) {
	t.Parallel()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		for _, n := range []int{indexMost, indexMost + 1, 3*indexMost - 1} {
			frames := make([]Frame, n)
			for i := range frames {
				f := &frames[i]
				f.Size, f.Length = int64(100+i%50), int64(100+i%60)
				if i > 0 {
					f.Offset, f.Start = frames[i-1].Offset+frames[i-1].Size, frames[i-1].Start+frames[i-1].Length
				}
			}
			last := frames[n-1]
			body := last.Offset + last.Size
			index := AppendIndex(nil, c, frames)
			file := &tailReader{before: body, tail: index}
			got, err := ReadIndex(file, body+int64(len(index)), c)
			if err != nil || !reflect.DeepEqual(got, frames) {
				t.Errorf("%s, %d frames: %d frames, %v", c, n, len(got), err)
			}
			if tool := map[capstan.Codec]string{capstan.CodecZstd: "zstd", capstan.CodecGzip: "gzip"}[c]; tool != "" {
				if out := stock(t, index, tool, "-dc"); len(out) != 0 {
					t.Errorf("%s decodes the index to %d bytes", tool, len(out))
				}
			}
		}
	}
}

// tailReader is a file of which only the end may be read.
type tailReader struct {
	before int64
	tail   []byte
}

func (r *tailReader) ReadAt(p []byte, off int64) (int, error) {
	if off < r.before {
		return 0, errors.New("only the index may be read")
	}
	return bytes.NewReader(r.tail).ReadAt(p, off-r.before)
}

// The stock tools test the whole file and decode it.
func TestStockToolsAccept(t *testing.T) {
	t.Parallel()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		tool := map[capstan.Codec]string{capstan.CodecZstd: "zstd", capstan.CodecGzip: "gzip"}[c]
		file, frames := archive(t, c, 9)
		path := filepath.Join(t.TempDir(), "a"+c.Suffix())
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		stock(t, nil, tool, "-t", path)
		last := frames[len(frames)-1]
		if out := stock(t, nil, tool, "-dc", path); int64(len(out)) != last.Start+last.Length {
			t.Errorf("%s decodes %d bytes", tool, len(out))
		}
	}
}

// The seek table, read as the seekable format's own description says.
func TestSeekableFormat(t *testing.T) {
	t.Parallel()
	file, frames := archive(t, capstan.CodecZstd, 5)
	le := binary.LittleEndian
	end := len(file)
	if le.Uint32(file[end-4:]) != 0x8F92EAB1 || file[end-5] != 0 {
		t.Fatal("no footer")
	}
	count := int(le.Uint32(file[end-9:]))
	table := file[end-9-8*count:]
	header := file[end-9-8*count-8:]
	if count != len(frames) || le.Uint32(header) != 0x184D2A5E || int(le.Uint32(header[4:])) != 8*count+9 {
		t.Fatalf("the table has %d entries or a wrong header", count)
	}
	for i, f := range frames {
		if int64(le.Uint32(table[8*i:])) != f.Size || int64(le.Uint32(table[8*i+4:])) != f.Length {
			t.Errorf("entry %d differs from %+v", i, f)
		}
	}
}

// No damage to an index goes unnoticed, and the scan then finds every frame.
func TestDamagedIndex(t *testing.T) {
	t.Parallel()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		file, frames := archive(t, c, 5)
		last := frames[len(frames)-1]
		from := int(last.Offset + last.Size)
		for i := from; i < len(file); i++ {
			for bit := range 8 {
				broken := bytes.Clone(file)
				broken[i] ^= 1 << bit
				got, err := ReadIndex(bytes.NewReader(broken), int64(len(broken)), c)
				if err == nil && !reflect.DeepEqual(got, frames) {
					t.Fatalf("%s: bit %d of byte %d of the index is unnoticed", c, bit, i-from)
				}
				if err != nil && !errors.Is(err, capstan.ErrDamaged) {
					t.Fatalf("%s: byte %d: %v", c, i-from, err)
				}
				got, err = ScanFrames(t.Context(), bytes.NewReader(broken), int64(len(broken)), c)
				if err != nil || !reflect.DeepEqual(got, frames) {
					t.Fatalf("%s: byte %d: scan gives %+v, %v", c, i-from, got, err)
				}
			}
		}
		for cut := 1; cut <= len(file)-from; cut++ {
			short := file[:len(file)-cut]
			if _, err := ReadIndex(bytes.NewReader(short), int64(len(short)), c); !errors.Is(err, capstan.ErrDamaged) {
				t.Fatalf("%s: %d bytes cut off: %v", c, cut, err)
			}
		}
	}
}

// A frame whose framing is destroyed costs only itself, and its place in the
// tar stream stays known.
func TestScanGoesOnAfterDamage(t *testing.T) {
	t.Parallel()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		file, frames := archive(t, c, 9)
		for i, f := range frames {
			broken := bytes.Clone(file)
			clear(broken[f.Offset : f.Offset+12])
			got, err := ScanFrames(t.Context(), bytes.NewReader(broken), int64(len(broken)), c)
			if err != nil {
				t.Fatal(err)
			}
			for j, want := range frames {
				found := false
				for _, g := range got {
					found = found || (g.Offset == want.Offset && g.Size == want.Size && g.Length == want.Length && !g.Damaged)
				}
				if found == (i == j) {
					t.Errorf("%s: frame %d destroyed: frame %d found: %v", c, i, j, found)
				}
			}
		}
	}
}

// A zstd frame that is broken after its header keeps its length.
func TestScanKeepsKnownLength(t *testing.T) {
	t.Parallel()
	file, frames := archive(t, capstan.CodecZstd, 5)
	f := frames[1] // raw blocks: header of 9 bytes, then a block header
	file[f.Offset+9] |= 3 << 1
	got, err := ScanFrames(t.Context(), bytes.NewReader(file), int64(len(file)), capstan.CodecZstd)
	frames[1].Damaged = true
	if err != nil || !reflect.DeepEqual(got, frames) {
		t.Errorf("scan gives %+v, %v", got, err)
	}
}

func TestReadErrorsAreNotDamage(t *testing.T) {
	t.Parallel()
	broken := errors.New("medium error")
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		_, err := ReadIndex(failingReader{broken}, 1000, c)
		if !errors.Is(err, broken) || errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s: ReadIndex gives %v", c, err)
		}
		_, err = ScanFrames(t.Context(), failingReader{broken}, 1000, c)
		if !errors.Is(err, broken) || errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s: ScanFrames gives %v", c, err)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

var _ io.ReaderAt = failingReader{}
