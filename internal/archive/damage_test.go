package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"capstan"
	"capstan/internal/tarfile"
)

func damageThings() []thing {
	var things []thing
	for i := range 14 {
		data := text(uint64(i), 200+300*i)
		if i%4 == 1 {
			data = noise(uint64(i), 900)
		}
		things = append(things, file(fmt.Sprintf("f%02d", i), data, i%2 == 0))
	}
	return append(things, thing{entry: capstan.Entry{Path: "link", Kind: capstan.KindSymlink, Link: "x", ModTime: at(1, 1)}})
}

// A changed byte is noticed by every entry whose content it changes, and costs
// only entries in its own frame; a changed index costs nothing.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	things := damageThings()
	for _, c := range codecs {
		sink := packAll(t, Options{Codec: c, FrameSize: 2500}, things)
		good := sink.file(1)
		frames := sink.reader(t, 1, c).Frames()
		last := frames[len(frames)-1]
		end := last.Offset + last.Size
		for i := 0; i < len(good); i += 23 {
			broken := bytes.Clone(good)
			broken[i] ^= 1 << (i % 8)
			r, err := OpenReader(bytes.NewReader(broken), int64(len(broken)), c)
			if err != nil {
				t.Fatalf("%s, byte %d: %v", c, i, err)
			}
			if (r.Damage() != nil) != (int64(i) >= end) {
				t.Errorf("%s, byte %d of %d: index %v", c, i, end, r.Damage())
			}
			checkDamage(t, fmt.Sprintf("%s, byte %d", c, i), r, sink.entries, things, func(e *capstan.Entry) bool {
				hit := int64(i) // in the file, and without compression in the tar stream
				for _, f := range frames {
					if c != capstan.CodecNone && f.Offset <= hit && hit < f.Offset+f.Size {
						return e.Offset < f.Start+f.Length && e.Offset+contentEnd(e) > f.Start
					}
				}
				return c == capstan.CodecNone && e.Offset <= hit && hit < e.Offset+contentEnd(e)
			})
		}
	}
}

// contentEnd is where an entry ends after its Offset, at most.
func contentEnd(e *capstan.Entry) int64 { return 3*tarfile.Block + e.Location.Size }

// checkDamage extracts everything: entries that may be hit fail with ErrDamaged
// or give the right content, all others give the right content.
func checkDamage(t *testing.T, what string, r *Reader, entries []capstan.Entry, things []thing, mayFail func(*capstan.Entry) bool) (failed int) {
	t.Helper()
	index := map[string]int{}
	for i := range things {
		index[things[i].entry.Path] = i
	}
	var mu sync.Mutex
	err := r.Extract(t.Context(), entries, 2, 0, func(_ context.Context, x *Extracted) error {
		got, err := io.ReadAll(x.Content)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			err = x.Err
		}
		switch {
		case err == nil && !bytes.Equal(got, things[index[x.Entry.Path]].data):
			t.Errorf("%s: %q is wrong without notice", what, x.Entry.Path)
		case err != nil && !errors.Is(err, capstan.ErrDamaged):
			t.Errorf("%s: %q: %v", what, x.Entry.Path, err)
		case err != nil && !mayFail(x.Entry):
			t.Errorf("%s: %q is lost, though it is elsewhere: %v", what, x.Entry.Path, err)
		}
		if err != nil {
			failed++
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	return failed
}

// Frames that are wiped out cost their entries, also where the index is gone.
func TestWipedFrames(t *testing.T) {
	t.Parallel()
	things := damageThings()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		sink := packAll(t, Options{Codec: c, FrameSize: 2500}, things)
		frames := sink.reader(t, 1, c).Frames()
		for _, indexToo := range []bool{false, true} {
			for i, f := range frames {
				broken := bytes.Clone(sink.file(1))
				clear(broken[f.Offset : f.Offset+f.Size])
				if indexToo {
					broken = broken[:len(broken)-5]
				}
				r, err := OpenReader(bytes.NewReader(broken), int64(len(broken)), c)
				if err != nil || (r.Damage() != nil) != indexToo {
					t.Fatalf("%s, frame %d: %v, %v", c, i, r, err)
				}
				failed := checkDamage(t, fmt.Sprintf("%s, frame %d", c, i), r, sink.entries, things, func(e *capstan.Entry) bool {
					return e.Offset < f.Start+f.Length && e.Offset+contentEnd(e) > f.Start || (indexToo && i == len(frames)-1)
				})
				if failed == 0 && f.Start+f.Length <= sink.entries[len(things)-1].Offset {
					t.Errorf("%s: nothing fails without frame %d", c, i)
				}
			}
		}
	}
}

func TestCutOff(t *testing.T) {
	t.Parallel()
	things := damageThings()
	for _, c := range codecs {
		sink := packAll(t, Options{Codec: c, FrameSize: 2500}, things)
		good := sink.file(1)
		frames := sink.reader(t, 1, c).Frames()
		for cut := 0; cut < len(good); cut += 997 {
			r, err := OpenReader(bytes.NewReader(good[:cut]), int64(cut), c)
			if err != nil {
				if !errors.Is(err, capstan.ErrDamaged) {
					t.Errorf("%s, %d bytes: %v", c, cut, err)
				}
				continue
			}
			whole := int64(0) // of the tar stream
			for _, f := range frames {
				if f.Offset+f.Size <= int64(cut) {
					whole = f.Start + f.Length
				} else if c == capstan.CodecNone {
					whole = int64(cut)
				}
			}
			checkDamage(t, fmt.Sprintf("%s, %d bytes", c, cut), r, sink.entries, things, func(e *capstan.Entry) bool {
				return e.Offset+contentEnd(e) > whole
			})
		}
	}
}

func TestNoArchive(t *testing.T) {
	t.Parallel()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		for _, b := range [][]byte{nil, []byte("x"), noise(1, 100_000)} {
			if _, err := OpenReader(bytes.NewReader(b), int64(len(b)), c); !errors.Is(err, capstan.ErrDamaged) {
				t.Errorf("%s, %d bytes: %v", c, len(b), err)
			}
		}
	}
	if _, err := OpenReader(bytes.NewReader(nil), 0, "lz4"); err == nil {
		t.Error("an archive of an unknown codec was opened")
	}
}

// walked lists what Walk visits.
func walked(t *testing.T, r *Reader) (names []string, errs int) {
	t.Helper()
	err := r.Walk(t.Context(), 2, 0, func(w *Walked) error {
		if w.Err == nil {
			names = append(names, w.Entry.Path)
		} else {
			errs++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, errs
}

func TestWalk(t *testing.T) {
	t.Parallel()
	things := mixed(4, 60)
	things = append(things, file("t/zzz", text(1, 900_000), true))
	for _, c := range codecs {
		sink := packAll(t, Options{Codec: c, FrameSize: 30_000, ArchiveSize: 800_000}, things)
		count := 0
		for _, a := range sink.sealed {
			err := sink.reader(t, a.Number, c).Walk(t.Context(), 3, 100_000, func(w *Walked) error {
				n, err := io.Copy(io.Discard, io.LimitReader(w.Content, int64(count%3)*1000))
				if err != nil || w.Err != nil || w.Doubtful || n > w.Entry.Location.Size {
					t.Errorf("%s, %q: %v, %v", c, w.Entry.Path, w.Err, err)
				}
				count++
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		want := 0
		for _, a := range sink.sealed {
			want += int(a.Entries)
		}
		if count != want {
			t.Errorf("%s: %d entries instead of %d", c, count, want)
		}
	}
}

// Walk gives what the packer said, entry by entry.
func TestWalkAgreesWithEntries(t *testing.T) {
	t.Parallel()
	things := mixed(11, 60)
	sink := packAll(t, Options{Codec: capstan.CodecZstd, FrameSize: 30_000}, things)
	i := 0
	err := sink.reader(t, 1, capstan.CodecZstd).Walk(t.Context(), 2, 0, func(w *Walked) error {
		e := &sink.entries[i]
		got, err := io.ReadAll(w.Content)
		if err != nil || !bytes.Equal(got, things[i].data) {
			t.Errorf("%q: %v", w.Entry.Path, err)
		}
		if w.Entry.Path != e.Path || w.Entry.Kind != e.Kind || w.Entry.Offset != e.Offset || w.Entry.Location.Size != e.Location.Size ||
			w.Entry.Size != e.Size || w.Entry.Mode != e.Mode || w.Entry.UID != e.UID || w.Entry.User != e.User || len(w.Entry.Data) != len(e.Data) {
			t.Errorf("%+v instead of %+v", w.Entry, e)
		}
		i++
		return nil
	})
	if err != nil || i != len(sink.entries) {
		t.Errorf("%d entries, %v", i, err)
	}
}

// Walk finds its way again behind damage, with or without a header lost.
func TestWalkAfterDamage(t *testing.T) {
	t.Parallel()
	things := damageThings()
	for _, c := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip} {
		sink := packAll(t, Options{Codec: c, FrameSize: 2500}, things)
		frames := sink.reader(t, 1, c).Frames()
		for i, f := range frames {
			broken := bytes.Clone(sink.file(1))
			clear(broken[f.Offset+4 : f.Offset+f.Size])
			r, err := OpenReader(bytes.NewReader(broken), int64(len(broken)), c)
			if err != nil {
				t.Fatal(err)
			}
			names, errs := walked(t, r)
			have := map[string]bool{}
			for _, name := range names {
				have[name] = true
			}
			lost := 0
			for _, e := range sink.entries {
				headerHit := e.Offset < f.Start+f.Length && e.Offset+3*tarfile.Block > f.Start
				if !headerHit && !have[e.Path] {
					t.Errorf("%s: frame %d wiped, %q is lost", c, i, e.Path)
				}
				if headerHit {
					lost++
				}
			}
			if lost > 0 && errs == 0 {
				t.Errorf("%s: frame %d wiped, %d headers lost, no error", c, i, lost)
			}
		}
	}
}

func TestWalkStops(t *testing.T) {
	t.Parallel()
	things := mixed(4, 60)
	sink := packAll(t, Options{Codec: capstan.CodecZstd, FrameSize: 30_000}, things)
	r := sink.reader(t, 1, capstan.CodecZstd)
	stop := errors.New("stop")
	n := 0
	err := r.Walk(t.Context(), 2, 0, func(*Walked) error {
		if n++; n == 5 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 5 {
		t.Errorf("%d visits, %v", n, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	err = r.Walk(ctx, 2, 0, func(w *Walked) error {
		cancel(stop)
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
}

// FuzzExtract changes an archive anywhere: every entry is right, or said to be damaged.
func FuzzExtract(f *testing.F) {
	things := damageThings()
	sinks := make([]*memorySink, len(codecs))
	for i, c := range codecs {
		sinks[i] = packAll(f, Options{Codec: c, FrameSize: 2500}, things)
		size := len(sinks[i].file(1))
		for _, at := range []int{0, 10, 600, size / 2, size - 5, size - 30} {
			f.Add(i, at, []byte{1, 0, 0x80}, size, size)
		}
		f.Add(i, 700, []byte(nil), size/2, size*2)
	}
	f.Fuzz(func(t *testing.T, codec, at int, change []byte, cut, size int) {
		if codec < 0 || codec >= len(codecs) {
			return
		}
		c, sink := codecs[codec], sinks[codec]
		b := bytes.Clone(sink.file(1))
		for i, x := range change {
			if at+i >= 0 && at+i < len(b) {
				b[at+i] ^= x
			}
		}
		b = b[:min(max(cut, 0), len(b))]
		b = append(b, make([]byte, max(0, min(size-len(b), 10_000)))...)
		r, err := OpenReader(bytes.NewReader(b), int64(len(b)), c)
		if err != nil {
			if !errors.Is(err, capstan.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		checkDamage(t, "changed", r, sink.entries, things, func(*capstan.Entry) bool { return true })
	})
}

// FuzzWalk reads any bytes as an archive: it ends, and gives no more than is there.
func FuzzWalk(f *testing.F) {
	things := damageThings()[:5]
	for _, c := range codecs {
		f.Add(packAll(f, Options{Codec: c, FrameSize: 2500}, things).file(1))
	}
	golden, err := filepath.Glob(filepath.Join(goldenDir, "*", "*", "*_0006.tar*"))
	if err != nil || len(golden) < 4 {
		f.Fatalf("%v, %v", golden, err)
	}
	for _, name := range golden {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range codecs {
			r, err := OpenReader(bytes.NewReader(b), int64(len(b)), c)
			if err != nil {
				if !errors.Is(err, capstan.ErrDamaged) {
					t.Fatal(err)
				}
				continue
			}
			var all, visits int64
			err = r.Walk(t.Context(), 1, 0, func(w *Walked) error {
				n, err := io.Copy(io.Discard, w.Content)
				if (w.Err != nil) && err == nil {
					t.Fatal("content without a header")
				}
				all, visits = all+n+w.Header, visits+1
				return nil
			})
			if all > r.TarSize() || visits > r.TarSize()/tarfile.Block+int64(len(r.Frames()))+1 {
				t.Fatalf("%s: %d entries of %d bytes in all, in a stream of %d", c, visits, all, r.TarSize())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
