package codec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"capstan"
)

var allCodecs = []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip, capstan.CodecNone}

// sample makes n bytes of a kind, the same ones every time.
func sample(kind string, n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	switch kind {
	case "zero":
	case "random":
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	case "text":
		for i := 0; i < n; {
			i += copy(b[i:], fmt.Sprintf("line %d of some text that repeats itself, %x\n", i, r.Uint32N(1000)))
		}
	case "mixed":
		copy(b, sample("text", n/2))
		copy(b[n/2:], sample("random", n-n/2))
	}
	return b
}

func mustEncoder(t testing.TB, c capstan.Codec, level int) *Encoder {
	t.Helper()
	e, err := NewEncoder(c, level)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mustDecoder(t testing.TB, c capstan.Codec) *Decoder {
	t.Helper()
	d, err := NewDecoder(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pureEncoder and pureDecoder use klauspost's zstd in every build.
func pureEncoder(t testing.TB, level int) *Encoder {
	t.Helper()
	z, err := newPureCompressor(level)
	if err != nil {
		t.Fatal(err)
	}
	return &Encoder{codec: capstan.CodecZstd, zstd: z}
}

func pureDecoder(t testing.TB) *Decoder {
	t.Helper()
	z, err := newPureDecompressor()
	if err != nil {
		t.Fatal(err)
	}
	return &Decoder{codec: capstan.CodecZstd, zstd: z}
}

// stock feeds in to a command and gives its output.
func stock(t testing.TB, in []byte, command ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Stdin = bytes.NewReader(in)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", command, err, errs.String())
	}
	return out
}

func TestCrossDecoding(t *testing.T) {
	t.Parallel()
	encoders := map[string]*Encoder{
		"zstd":         mustEncoder(t, capstan.CodecZstd, 0),
		"zstd 3":       mustEncoder(t, capstan.CodecZstd, 3),
		"zstd 19":      mustEncoder(t, capstan.CodecZstd, 19),
		"pure zstd":    pureEncoder(t, 1),
		"pure zstd 19": pureEncoder(t, 19),
		"gzip":         mustEncoder(t, capstan.CodecGzip, 0),
		"gzip 9":       mustEncoder(t, capstan.CodecGzip, 9),
		"none":         mustEncoder(t, capstan.CodecNone, 0),
	}
	decoders := map[capstan.Codec][]*Decoder{
		capstan.CodecZstd: {mustDecoder(t, capstan.CodecZstd), pureDecoder(t)},
		capstan.CodecGzip: {mustDecoder(t, capstan.CodecGzip)},
		capstan.CodecNone: {mustDecoder(t, capstan.CodecNone)},
	}
	tools := map[capstan.Codec][]string{capstan.CodecZstd: {"zstd", "-dc"}, capstan.CodecGzip: {"gzip", "-dc"}}
	for name, e := range encoders {
		for _, kind := range []string{"zero", "text", "random", "mixed"} {
			var all, plain []byte
			for _, n := range []int{0, 1, 255, 256, 1000, 65535, 65536, 128 << 10, 128<<10 + 1, 600_000} {
				src := sample(kind, n)
				plain = append(plain, src...)
				for _, frame := range [][]byte{e.Encode([]byte("before"), src), e.Store([]byte("before"), src)} {
					frame = frame[len("before"):]
					if len(frame) > e.Bound(n) {
						t.Errorf("%s, %d bytes %s: frame of %d bytes exceeds its bound %d", name, n, kind, len(frame), e.Bound(n))
					}
					for i, d := range decoders[e.codec] {
						got, err := d.Decode([]byte("before"), frame, n)
						if err != nil || string(got[:6]) != "before" || !bytes.Equal(got[6:], src) {
							t.Errorf("%s, %d bytes %s, decoder %d: %v", name, n, kind, i, err)
						}
					}
				}
				all = e.Encode(all, src)
			}
			if tool := tools[e.codec]; tool != nil {
				if got := stock(t, all, tool...); !bytes.Equal(got, plain) {
					t.Errorf("%s, %s: %v gives other bytes", name, kind, tool)
				}
			}
		}
	}
}

// The reference tool's frames are read by both engines.
func TestReadsReferenceFrames(t *testing.T) {
	t.Parallel()
	src := sample("mixed", 700_000)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, src, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"-1", "-9", "-19"} {
		frame := stock(t, nil, "zstd", level, "-c", "--check", file)
		for i, d := range []*Decoder{mustDecoder(t, capstan.CodecZstd), pureDecoder(t)} {
			got, err := d.Decode(nil, frame, len(src))
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("level %s, decoder %d: %v", level, i, err)
			}
		}
	}
}

func TestIncompressibleIsStored(t *testing.T) {
	t.Parallel()
	random, text := sample("random", 300_000), sample("text", 300_000)
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		e := mustEncoder(t, c, 1)
		if !bytes.Equal(e.Encode(nil, random), e.Store(nil, random)) {
			t.Errorf("%s: random bytes are not stored as they are", c)
		}
		if !e.Incompressible(random[:65536]) || e.Incompressible(text[:65536]) {
			t.Errorf("%s: Incompressible is wrong about random bytes or text", c)
		}
		if n := len(e.Encode(nil, text)); n > len(text)/3 {
			t.Errorf("%s: text of %d bytes takes %d", c, len(text), n)
		}
	}
}

// The default level finds what stands twice anywhere in a frame of 4 MiB; libzstd also
// packs what has no repetitions, by the frequencies of its bytes.
func TestDefaultLevel(t *testing.T) {
	t.Parallel()
	random := sample("random", 1<<20)
	twice := slices.Concat(random, make([]byte, 5<<19), random[:1<<19])
	skewed := make([]byte, 1<<20)
	for i := range skewed {
		skewed[i] = 'a' + random[i]&15 // four bits of eight
	}
	for name, e := range map[string]*Encoder{Engine: mustEncoder(t, capstan.CodecZstd, 0), "the other": pureEncoder(t, 1)} {
		if n := len(e.Encode(nil, twice)); n > 9<<17 {
			t.Errorf("%s: %d bytes, of which 1 MiB is new, take %d", name, len(twice), n)
		}
		if n := len(e.Encode(nil, skewed)); name == "libzstd" && n > len(skewed)*55/100 {
			t.Errorf("%s: %d bytes of four bits take %d", name, len(skewed), n)
		}
	}
}

func TestEncodeReusesRoom(t *testing.T) {
	src := sample("text", 1<<20)
	e := mustEncoder(t, capstan.CodecZstd, 1)
	buf := make([]byte, 0, e.Bound(len(src)))
	out := e.Encode(buf, src)
	if &out[0] != &buf[:1][0] {
		t.Error("Encode left the room that Bound asks for")
	}
	d := mustDecoder(t, capstan.CodecZstd)
	plain := make([]byte, 0, len(src))
	got, err := d.Decode(plain, out, len(src))
	if err != nil || &got[0] != &plain[:1][0] {
		t.Errorf("Decode left the room that it was given: %v", err)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	tests := []struct {
		codec capstan.Codec
		level int
		want  int // -1: refused
	}{
		{capstan.CodecZstd, 0, 1},
		{capstan.CodecZstd, 19, 19},
		{capstan.CodecZstd, 20, -1},
		{capstan.CodecZstd, -1, -1},
		{capstan.CodecGzip, 0, 1},
		{capstan.CodecGzip, 9, 9},
		{capstan.CodecGzip, 10, -1},
		{capstan.CodecNone, 7, 0},
		{"lz4", 1, -1},
	}
	for _, tt := range tests {
		got, err := CheckLevel(tt.codec, tt.level)
		if (err != nil) != (tt.want < 0) || (err == nil && got != tt.want) {
			t.Errorf("CheckLevel(%s, %d) = %d, %v; want %d", tt.codec, tt.level, got, err, tt.want)
		}
		if _, err := NewEncoder(tt.codec, tt.level); (err != nil) != (tt.want < 0) {
			t.Errorf("NewEncoder(%s, %d): %v", tt.codec, tt.level, err)
		}
	}
	if _, err := NewDecoder("lz4"); err == nil {
		t.Error("a decoder for lz4 was made")
	}
}

// Every damaged frame is noticed, or gives the right content all the same.
func TestDecodeNoticesDamage(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"text", "random"} {
		src := sample(kind, 3000)
		for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
			frame := mustEncoder(t, c, 1).Encode(nil, src)
			decoders := []*Decoder{mustDecoder(t, c)}
			if c == capstan.CodecZstd {
				decoders = append(decoders, pureDecoder(t))
			}
			for _, d := range decoders {
				room := make([]byte, len(src)+1)
				for i := range frame {
					for bit := range 8 {
						frame[i] ^= 1 << bit
						got, err := d.Decode(room[:0:len(src)], frame, len(src))
						frame[i] ^= 1 << bit
						if err == nil && !bytes.Equal(got, src) {
							t.Fatalf("%s: bit %d of byte %d changes the content unnoticed", c, bit, i)
						}
						if err != nil && (!errors.Is(err, capstan.ErrDamaged) || len(got) != 0) {
							t.Fatalf("%s: byte %d: %d bytes and %v", c, i, len(got), err)
						}
					}
				}
				if room[len(src)] != 0 {
					t.Errorf("%s: the decoder wrote beyond its room", c)
				}
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	src := sample("text", 5000)
	for _, c := range allCodecs {
		frame := mustEncoder(t, c, 1).Encode(nil, src)
		d := mustDecoder(t, c)
		cases := map[string]struct {
			src  []byte
			want int
		}{
			"nothing":       {nil, len(src)},
			"cut off":       {frame[:len(frame)-1], len(src)},
			"cut to header": {frame[:5], len(src)},
			"one more":      {append(bytes.Clone(frame), 0), len(src)},
			"two frames":    {append(bytes.Clone(frame), frame...), len(src)},
			"both":          {append(bytes.Clone(frame), frame...), 2*len(src) - 1},
			"too short":     {frame, len(src) - 1},
			"too long":      {frame, len(src) + 1},
			"none wanted":   {frame, 0},
			"huge":          {frame, MaxFrame + 1},
			"negative":      {frame, -1},
		}
		for name, tt := range cases {
			if got, err := d.Decode(nil, tt.src, tt.want); !errors.Is(err, capstan.ErrDamaged) || len(got) != 0 {
				t.Errorf("%s, %s: %d bytes and error %v", c, name, len(got), err)
			}
		}
	}
}

func TestCancelledScan(t *testing.T) {
	t.Parallel()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	file, _ := archive(t, capstan.CodecZstd, 3)
	if _, err := ScanFrames(ctx, bytes.NewReader(file), int64(len(file)), capstan.CodecZstd); !errors.Is(err, why) {
		t.Errorf("ScanFrames gives %v instead of the cause", err)
	}
}
