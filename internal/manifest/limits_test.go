package manifest

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"capstan"
)

// A small manifest that unpacks to much is refused, and takes little memory. Not
// parallel: it looks at what the process allocates.
func TestBombs(t *testing.T) { //nolint:paralleltest // see above
	head := setText
	many := func(before, element, after string) string {
		return head + `{"type":"entry","path":"a","kind":"file","outcome":"stored",` + before +
			strings.Repeat(element+",", maxLine/(len(element)+1)-100) + element + after + "}\n"
	}
	for name, text := range map[string]io.Reader{
		"zeros":       io.LimitReader(zeroReader{}, 1<<28),
		"in an entry": io.MultiReader(strings.NewReader(head+`{"type":"entry","path":"`), io.LimitReader(letterReader{}, 1<<28)),
		"parts":       strings.NewReader(many(`"parts":[`, "{}", "]")),
		"xattrs":      strings.NewReader(many(`"xattrs":[`, "{}", "]")),
		"data":        strings.NewReader(many(`"data":[`, "[1,1]", "]")),
		"exact":       strings.NewReader(many("", `"path_b64":""`, "")),
		"sources":     strings.NewReader(strings.Replace(head, `"sources":[`, `"sources":[`+strings.Repeat(`"",`, maxLine/4), 1)),
		"unknown":     strings.NewReader(`{"x":"` + strings.Repeat("x", maxLine-100) + "\"}\n"),
	} {
		var file bytes.Buffer
		out, err := zstd.NewWriter(&file, zstd.WithWindowSize(maxWindow), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, text); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		err = readToEnd(&file)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if took := capstan.Bytes(after.TotalAlloc - before.TotalAlloc); took > 128<<20 {
			t.Errorf("%s: %s were allocated", name, took)
		}
		if took := capstan.Bytes(after.HeapSys - before.HeapSys); after.HeapSys > before.HeapSys && took > 80<<20 {
			t.Errorf("%s: the heap grew by %s", name, took)
		}
	}
}

func readToEnd(r io.Reader) error {
	m, err := NewReader(r)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, err := range m.Entries() {
		if err != nil {
			return err
		}
	}
	return nil
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type letterReader struct{}

func (letterReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// A foreign window that would take much memory is refused.
func TestWindow(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	out, err := zstd.NewWriter(&file, zstd.WithWindowSize(4*maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := io.WriteString(out, strings.Repeat(" ", 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := readToEnd(&file); !errors.Is(err, zstd.ErrWindowSizeExceeded) || !errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// An entry at the limits of its kind fits; one beyond them is told as failed.
func TestLongLines(t *testing.T) {
	t.Parallel()
	most := capstan.Entry{Path: "most", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Sparse: true, Size: 1 << 60}
	for i := range int64(1 << 16) {
		most.Data = append(most.Data, capstan.Extent{Offset: 1<<59 + i<<40, Length: 1 << 30})
	}
	for range 8 << 4 {
		most.Xattrs = append(most.Xattrs, capstan.Xattr{Name: "user.x", Value: make([]byte, 60<<10)})
	}
	parts := capstan.Entry{Path: "parts", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Size: 1 << 60, Location: capstan.Location{Archive: 1}}
	for i := range int64(1 << 15) {
		parts.Parts = append(parts.Parts, capstan.Part{
			Location: capstan.Location{Archive: 1 << 30, Offset: 1 << 60, Size: 1 << 60}, Start: i << 40, Length: 1 << 40,
		})
	}
	long := capstan.Entry{Path: "long", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Size: 7, Location: capstan.Location{Archive: 1}}
	for range 300 {
		long.Xattrs = append(long.Xattrs, capstan.Xattr{Name: "user.x", Value: make([]byte, 64<<10)})
	}
	ranges := capstan.Entry{Path: "ranges", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Sparse: true, Data: make([]capstan.Extent, maxExtents+1)}
	var file bytes.Buffer
	m, err := NewWriter(&file, capstan.Set{ID: "2026-11_000001"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*capstan.Entry{&most, &parts, &long, &ranges} {
		if err := m.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []capstan.Entry
	for e, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if len(got) != 4 || len(got[0].Data) != 1<<16 || len(got[0].Xattrs) != 8<<4 || len(got[1].Parts) != 1<<15 {
		t.Fatalf("%d entries", len(got))
	}
	for _, e := range got[2:] {
		if e.Outcome != capstan.OutcomeFailed || e.Reason == "" || e.Archive != 0 || e.Sparse || e.Xattrs != nil {
			t.Errorf("%q is %v (%s) in archive %d", e.Path, e.Outcome, e.Reason, e.Archive)
		}
	}
}
