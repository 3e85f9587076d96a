package archive

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"capstan"
)

// pipe runs a stock command on some bytes; ok is false where it complains.
func pipe(t *testing.T, in []byte, command ...string) (out []byte, ok bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Stdin = bytes.NewReader(in)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	return out, err == nil && said.Len() == 0
}

// agrees reads an archive and compares it with the tar stream that a stock program
// gives. took is false where we say of some of it that it is damaged. Where we say that
// the index is, there may be more than we found: what is no frame behind the last one
// is taken for what is left of the index.
func agrees(t *testing.T, what string, file, theirs []byte, c capstan.Codec) (took bool) {
	t.Helper()
	r, err := OpenReader(bytes.NewReader(file), int64(len(file)), c)
	var ours []byte
	for i := 0; err == nil && i < len(r.Frames()); i++ {
		ours, err = r.ReadFrame(ours, i)
	}
	if err != nil {
		if !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s: %v is no word of damage", what, err)
		}
		return false
	}
	if !bytes.Equal(ours, theirs) && (r.Damage() == nil || !bytes.HasPrefix(theirs, ours)) {
		t.Errorf("%s: we read %d bytes, %s other %d", what, len(ours), c, len(theirs))
	}
	return true
}

// foreignStream is what foreign programs compress: a few entries, some that compress.
func foreignStream(t *testing.T) []byte {
	t.Helper()
	sink := packAll(t, Options{Codec: capstan.CodecNone, FrameSize: 1 << 20}, []thing{
		file("t", text(1, 150_000), true), file("u", noise(2, 90_000), true), file("v", nil, false), file("w", text(3, 40_000), false),
	})
	return sink.file(1)
}

// fancy makes a gzip member with everything in its header that RFC 1952 knows.
func fancy(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name, w.Comment, w.Extra = "name.tar", "a comment", []byte("XX\x04\x00more")
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What stock programs compress, in all their ways, we read as they do, or say that it
// is not ours; archives of ours in pieces that others put together we read.
func TestReadsTheirCompression(t *testing.T) {
	t.Parallel()
	stream := foreignStream(t)
	half := len(stream) / 2
	squeeze := func(in []byte, command string) []byte {
		t.Helper()
		out, ok := pipe(t, in, strings.Fields(command)...)
		if !ok {
			t.Errorf("%s complains", command)
		}
		return out
	}
	both := func(command string) []byte {
		t.Helper()
		return append(squeeze(stream[:half], command), squeeze(stream[half:], command)...)
	}
	skippable := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x184D2A53), 5)
	skippable = append(skippable, "abcde"...)
	ours := map[capstan.Codec][]byte{}
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		sink := packAll(t, Options{Codec: c, FrameSize: 20_000}, damageThings())
		ours[c] = sink.file(1)
	}
	read := 0
	for name, test := range map[string]struct {
		c    capstan.Codec
		file []byte
	}{
		"zstd":                        {capstan.CodecZstd, squeeze(stream, "zstd -q -c --stream-size="+fmt.Sprint(len(stream)))},
		"zstd, size unknown":          {capstan.CodecZstd, squeeze(stream, "zstd -q -c")},
		"zstd, no sums":               {capstan.CodecZstd, squeeze(stream, "zstd -q -c --no-check --stream-size="+fmt.Sprint(len(stream)))},
		"zstd, no content size":       {capstan.CodecZstd, squeeze(stream, "zstd -q -c --no-content-size")},
		"zstd, long window":           {capstan.CodecZstd, squeeze(stream, "zstd -q -c --long=27 -19")},
		"zstd, two frames":            {capstan.CodecZstd, both("zstd -q -c")},
		"zstd, a frame to be skipped": {capstan.CodecZstd, append(append(squeeze(stream[:half], "zstd -q -c"), skippable...), squeeze(stream[half:], "zstd -q -c")...)},
		"zstd, skipped first":         {capstan.CodecZstd, append(bytes.Clone(skippable), squeeze(stream, "zstd -q -c --stream-size="+fmt.Sprint(len(stream)))...)},
		"zstd, negative level":        {capstan.CodecZstd, squeeze(stream, "zstd -q -c --fast=5 --stream-size="+fmt.Sprint(len(stream)))},
		"ours twice, zstd":            {capstan.CodecZstd, append(bytes.Clone(ours[capstan.CodecZstd]), ours[capstan.CodecZstd]...)},
		"ours without an index":       {capstan.CodecZstd, ours[capstan.CodecZstd][:len(ours[capstan.CodecZstd])-9]},
		"gzip":                        {capstan.CodecGzip, squeeze(stream, "gzip -c")},
		"gzip, best":                  {capstan.CodecGzip, squeeze(stream, "gzip -9 -c")},
		"gzip, two members":           {capstan.CodecGzip, both("gzip -c")},
		"gzip, all of a header":       {capstan.CodecGzip, fancy(t, stream)},
		"gzip, ours and theirs":       {capstan.CodecGzip, append(bytes.Clone(ours[capstan.CodecGzip]), squeeze(stream, "gzip -c")...)},
		"ours twice, gzip":            {capstan.CodecGzip, append(bytes.Clone(ours[capstan.CodecGzip]), ours[capstan.CodecGzip]...)},
	} {
		theirs, ok := pipe(t, test.file, string(test.c), "-dc", "--")
		if ok && agrees(t, name, test.file, theirs, test.c) {
			read++
		}
	}
	if read < 6 {
		t.Errorf("%d of them were read", read)
	}
}

// What stock programs still take after a change somewhere, and we too, is the same.
func TestChangedArchives(t *testing.T) {
	t.Parallel()
	const seed = 12
	random := rand.New(rand.NewPCG(seed, 3))
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		good := packAll(t, Options{Codec: c, FrameSize: 2500}, damageThings()).file(1)
		frames := func() int {
			r, err := OpenReader(bytes.NewReader(good), int64(len(good)), c)
			if err != nil {
				t.Fatal(err)
			}
			last := r.Frames()[len(r.Frames())-1]
			return int(last.Offset + last.Size)
		}()
		agreed := 0
		for n := range 90 {
			changed := bytes.Clone(good)
			switch n % 6 {
			case 0: // anywhere
				changed[random.IntN(len(changed))] ^= 1 << random.IntN(8)
			case 1: // in the index
				changed[frames+random.IntN(len(changed)-frames)] ^= 1 << random.IntN(8)
			case 2: // cut behind the frames
				changed = changed[:frames+random.IntN(len(changed)-frames)]
			case 3: // without an index
				changed = changed[:frames]
			case 4: // a header
				changed[random.IntN(18)] ^= 1 << random.IntN(8)
			default: // two bytes exchanged
				a, b := random.IntN(len(changed)), random.IntN(len(changed))
				changed[a], changed[b] = changed[b], changed[a]
			}
			what := fmt.Sprintf("%s, change %d of seed %d", c, n, seed)
			if theirs, ok := pipe(t, changed, string(c), "-dc"); ok && agrees(t, what, changed, theirs, c) {
				agreed++
			}
		}
		if agreed < 20 {
			t.Errorf("%s: both took it %d times", c, agreed)
		}
	}
}

// What our writer makes of entries drawn from a seed, stock programs list as it was
// given: names, kinds, modes, sizes, targets, times.
func TestTheyListOurs(t *testing.T) {
	t.Parallel()
	for seed := range 3 {
		things := mixed(uint64(40+seed), 150)
		for _, c := range codecs {
			sink := packAll(t, Options{Codec: c, FrameSize: 30_000}, things)
			stream := sink.file(1)
			if c != capstan.CodecNone {
				var ok bool
				if stream, ok = pipe(t, stream, string(c), "-dc"); !ok {
					t.Errorf("%s complains", c)
				}
			}
			for _, tool := range [][]string{{"tar", "--quoting-style=literal", "--full-time"}, {"bsdtar"}} {
				listed, ok := pipe(t, stream, append(tool, "--numeric-owner", "-tvf", "-")...)
				lines := bytes.Split(bytes.TrimSuffix(listed, []byte("\n")), []byte("\n"))
				if !ok || len(lines) != len(sink.entries) {
					t.Errorf("%s lists %d entries of %d", tool[0], len(lines), len(sink.entries))
					continue
				}
				for i := range sink.entries {
					if problem := listedAs(tool[0], string(lines[i]), &sink.entries[i]); problem != "" {
						t.Errorf("seed %d, %s: %s lists %q: %s", seed, c, tool[0], lines[i], problem)
					}
				}
			}
		}
	}
}

// listedAs compares a line of a listing with the entry that was given; empty: it says
// the same.
func listedAs(tool, line string, e *capstan.Entry) string {
	letters := map[capstan.EntryKind]string{
		capstan.KindFile: "-", capstan.KindDir: "d", capstan.KindSymlink: "l", capstan.KindHardlink: "h",
	}
	fields := strings.Fields(line)
	mode := letters[e.Kind]
	for bit := 8; bit >= 0; bit-- {
		if e.Mode>>bit&1 == 1 {
			mode += string("xwr"[bit%3])
		} else {
			mode += "-"
		}
	}
	if e.Mode&0o7000 == 0 && !strings.HasPrefix(fields[0], mode) {
		return "want " + mode
	}
	name := e.Path
	switch e.Kind {
	case capstan.KindDir:
		name += "/"
	case capstan.KindSymlink:
		name += " -> " + e.Link
	case capstan.KindHardlink:
		name += " link to " + e.Link
	default:
	}
	if !strings.HasSuffix(line, " "+name) {
		return fmt.Sprintf("want %q", name)
	}
	size, owner := fields[2], fields[1]
	if tool == "bsdtar" {
		size, owner = fields[4], fields[2]+"/"+fields[3]
	}
	want := e.Size
	if e.Kind == capstan.KindHardlink && tool == "bsdtar" {
		want = 0
	}
	if size != fmt.Sprint(want) || owner != fmt.Sprintf("%d/%d", e.UID, e.GID) {
		return fmt.Sprintf("want %d bytes of %d/%d", want, e.UID, e.GID)
	}
	if at := e.ModTime.Local().Format("2006-01-02 15:04:05"); tool == "tar" && !strings.HasPrefix(fields[3]+" "+fields[4], at) {
		return "want " + at
	}
	return ""
}
