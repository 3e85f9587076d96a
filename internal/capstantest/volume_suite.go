package capstantest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing"

	"capstan"
)

// The names that VolumeSuite uses.
const (
	suiteSet    = capstan.SetID("2026-11_000001")
	suiteOwner  = "5f0c6f6e-owner-of-the-suite"
	suiteOther  = "e1b7c2aa-another-owner"
	suiteFile   = "backup_2026-11_000001_0001.tar.zst"
	suiteSecond = "backup_2026-11_000001_0002.tar.zst"
)

// VolumeSuite checks what every capstan.Volume promises. open is called once for
// each case and must give a new, empty volume with at least 32 MiB of room; the
// suite closes it. Cases run in parallel.
func VolumeSuite(t *testing.T, open func(t *testing.T) capstan.Volume) {
	cases := []struct {
		name string
		run  func(v volumeTest)
	}{
		{"Info", volumeInfo},
		{"ClaimSet", volumeClaims},
		{"Commit", volumeCommits},
		{"Abort", volumeAborts},
		{"Replace", volumeReplaces},
		{"Names", volumeNames},
		{"List", volumeLists},
		{"Discard", volumeDiscards},
		{"Remove", volumeRemoves},
		{"Cancel", volumeCancels},
		{"LargeFile", volumeLargeFile},
		{"ManyFiles", volumeManyFiles},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := open(t)
			c.run(volumeTest{t, v})
			if err := v.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// volumeTest is one case with its volume.
type volumeTest struct {
	*testing.T
	capstan.Volume
}

func volumeInfo(v volumeTest) {
	info := v.Info()
	if info.ID == "" || info.Kind == "" || info.Location == "" {
		v.Errorf("incomplete: %+v", info)
	}
	if info != v.Info() {
		v.Error("Info changed between two calls")
	}
	free, err := v.Free(v.Context())
	if err != nil || free < 32*capstan.MiB {
		v.Errorf("free %s, %v", free, err)
	}
	sets, err := v.Sets(v.Context())
	if err != nil || len(sets) != 0 {
		v.Errorf("a new volume holds %v, %v", sets, err)
	}
}

func volumeClaims(v volumeTest) {
	v.claim()
	if err := v.ClaimSet(v.Context(), suiteSet, suiteOwner); err != nil {
		v.Errorf("the same owner again: %v", err)
	}
	if err := v.ClaimSet(v.Context(), suiteSet, suiteOther); !errors.Is(err, capstan.ErrSetExists) {
		v.Errorf("another owner: %v", err)
	}
	v.put(suiteFile, []byte("x"))
	if err := v.ClaimSet(v.Context(), suiteSet, suiteOwner); err != nil {
		v.Errorf("the same owner, with a file: %v", err)
	}
	if err := v.ClaimSet(v.Context(), suiteSet, suiteOther); !errors.Is(err, capstan.ErrSetExists) {
		v.Errorf("another owner, with a file: %v", err)
	}
	v.expect(suiteFile, []byte("x"))
	for _, bad := range []capstan.SetID{"", "..", "2026-13_000001", "a/b"} {
		if err := v.ClaimSet(v.Context(), bad, suiteOwner); err == nil {
			v.Errorf("set %q was claimed", bad)
		}
	}
}

func volumeCommits(v volumeTest) {
	v.claim()
	file, err := v.Create(v.Context(), suiteSet, suiteFile)
	if err != nil {
		v.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789"), 1000)
	for chunk := range slices.Chunk(content, 777) {
		if n, err := file.Write(chunk); n != len(chunk) || err != nil {
			v.Fatalf("write: %d, %v", n, err)
		}
	}
	v.absent(suiteFile)
	if err := file.Commit(v.Context()); err != nil {
		v.Fatalf("commit: %v", err)
	}
	v.expect(suiteFile, content)
	if err := file.Abort(); err != nil {
		v.Errorf("abort after commit: %v", err)
	}
	if err := file.Commit(v.Context()); err == nil {
		v.Error("a second commit passed")
	}
	if _, err := file.Write([]byte("more")); err == nil {
		v.Error("a write after commit passed")
	}
	v.expect(suiteFile, content)
	v.put("EMPTY", nil)
	v.expect("EMPTY", nil)
}

func volumeAborts(v volumeTest) {
	v.claim()
	file, err := v.Create(v.Context(), suiteSet, suiteFile)
	if err != nil {
		v.Fatal(err)
	}
	if _, err := file.Write([]byte("never")); err != nil {
		v.Fatal(err)
	}
	for range 2 {
		if err := file.Abort(); err != nil {
			v.Errorf("abort: %v", err)
		}
	}
	v.absent(suiteFile)
	if err := file.Commit(v.Context()); err == nil {
		v.Error("a commit after abort passed")
	}
	v.absent(suiteFile)
	if n, err := v.Discard(v.Context(), suiteSet); n != 0 || err != nil {
		v.Errorf("abort left %d files, %v", n, err)
	}
}

func volumeReplaces(v volumeTest) {
	v.claim()
	v.put(suiteFile, []byte("finished"))
	if _, err := v.Create(v.Context(), suiteSet, suiteFile); !errors.Is(err, fs.ErrExist) {
		v.Errorf("creating over a finished file: %v", err)
	}
	v.expect(suiteFile, []byte("finished"))
	// The first file is left as a killed process leaves it.
	left, err := v.Create(v.Context(), suiteSet, suiteSecond)
	if err != nil {
		v.Fatal(err)
	}
	if _, err := left.Write([]byte("a longer, unfinished content")); err != nil {
		v.Fatal(err)
	}
	v.put(suiteSecond, []byte("second"))
	v.expect(suiteSecond, []byte("second"))
	if err := left.Commit(v.Context()); err == nil {
		v.Error("a file that was replaced was committed over its successor")
	}
	v.expect(suiteSecond, []byte("second"))
}

func volumeNames(v volumeTest) {
	v.claim()
	for _, name := range []string{"", ".", "..", "a/b", "/a", "../" + suiteFile, "a\x00b", suiteFile + ".part", ".hidden", `a\b`} {
		if _, err := v.Create(v.Context(), suiteSet, name); err == nil {
			v.Errorf("file %q was created", name)
		}
		if _, err := v.Open(v.Context(), suiteSet, name); err == nil {
			v.Errorf("file %q was opened", name)
		}
		if err := v.Remove(v.Context(), suiteSet, name); err == nil {
			v.Errorf("file %q was removed", name)
		}
	}
	if _, err := v.Create(v.Context(), "../2026-11_000001", suiteFile); err == nil {
		v.Error("a set name that leads elsewhere was taken")
	}
}

func volumeLists(v volumeTest) {
	ids := []capstan.SetID{"2026-11_000002", "2026-11_1000000", "2025-12_000009", "2026-11_000010"}
	for _, id := range ids {
		if err := v.ClaimSet(v.Context(), id, suiteOwner); err != nil {
			v.Fatal(err)
		}
		v.putIn(id, "SHA256SUMS", []byte(id))
		v.putIn(id, "DELETED", nil)
	}
	got, err := v.Sets(v.Context())
	if want := []capstan.SetID{"2025-12_000009", "2026-11_000002", "2026-11_000010", "2026-11_1000000"}; !slices.Equal(got, want) || err != nil {
		v.Errorf("sets %v, %v; want %v", got, err, want)
	}
	files, err := v.List(v.Context(), ids[0])
	if want := []capstan.StoredFile{{Name: "DELETED"}, {Name: "SHA256SUMS", Size: 14}}; !slices.Equal(files, want) || err != nil {
		v.Errorf("files %v, %v; want %v", files, err, want)
	}
	files, err = v.List(v.Context(), "2020-01_000001")
	if len(files) != 0 || err != nil {
		v.Errorf("a set that is not there holds %v, %v", files, err)
	}
}

func volumeDiscards(v volumeTest) {
	v.claim()
	v.put(suiteFile, []byte("finished"))
	for _, name := range []string{suiteSecond, "DELETED"} {
		file, err := v.Create(v.Context(), suiteSet, name)
		if err != nil {
			v.Fatal(err)
		}
		if _, err := file.Write([]byte("unfinished")); err != nil {
			v.Fatal(err)
		}
	}
	files, err := v.List(v.Context(), suiteSet)
	if len(files) != 1 || err != nil {
		v.Errorf("unfinished files are listed: %v, %v", files, err)
	}
	if n, err := v.Discard(v.Context(), suiteSet); n != 2 || err != nil {
		v.Errorf("discarded %d, %v", n, err)
	}
	if n, err := v.Discard(v.Context(), suiteSet); n != 0 || err != nil {
		v.Errorf("discarded %d again, %v", n, err)
	}
	v.expect(suiteFile, []byte("finished"))
	v.absent(suiteSecond)
	if n, err := v.Discard(v.Context(), "2020-01_000001"); n != 0 || err != nil {
		v.Errorf("a set that is not there: %d, %v", n, err)
	}
}

func volumeRemoves(v volumeTest) {
	v.claim()
	v.put(suiteFile, []byte("one"))
	v.put(suiteSecond, []byte("two"))
	for range 2 {
		if err := v.Remove(v.Context(), suiteSet, suiteFile); err != nil {
			v.Errorf("remove: %v", err)
		}
	}
	v.absent(suiteFile)
	v.expect(suiteSecond, []byte("two"))
	for range 2 {
		if err := v.Remove(v.Context(), suiteSet, suiteFile, suiteSecond); err != nil {
			v.Errorf("remove: %v", err)
		}
	}
	sets, err := v.Sets(v.Context())
	if len(sets) != 0 || err != nil {
		v.Errorf("an emptied set stays: %v, %v", sets, err)
	}
	if err := v.ClaimSet(v.Context(), suiteSet, suiteOther); err != nil {
		v.Errorf("the name of a removed set cannot be claimed: %v", err)
	}
}

func volumeCancels(v volumeTest) {
	v.claim()
	file, err := v.Create(v.Context(), suiteSet, suiteFile)
	if err != nil {
		v.Fatal(err)
	}
	if _, err := file.Write([]byte("x")); err != nil {
		v.Fatal(err)
	}
	why := errors.New("cancelled by the suite")
	ctx, cancel := context.WithCancelCause(v.Context())
	cancel(why)
	if err := file.Commit(ctx); !errors.Is(err, why) {
		v.Errorf("commit gives %v, not the cause", err)
	}
	v.absent(suiteFile)
	if err := file.Abort(); err != nil {
		v.Errorf("abort: %v", err)
	}
	_, createErr := v.Create(ctx, suiteSet, suiteFile)
	_, openErr := v.Open(ctx, suiteSet, suiteFile)
	_, listErr := v.List(ctx, suiteSet)
	_, setsErr := v.Sets(ctx)
	_, freeErr := v.Free(ctx)
	for i, err := range []error{createErr, openErr, listErr, setsErr, freeErr, v.ClaimSet(ctx, suiteSet, suiteOwner), v.Remove(ctx, suiteSet, suiteFile)} {
		if !errors.Is(err, why) {
			v.Errorf("call %d gives %v, not the cause", i, err)
		}
	}
}

func volumeLargeFile(v volumeTest) {
	v.claim()
	content := make([]byte, 9<<20+5)
	for i := range content {
		content[i] = byte(i * 31 >> 4)
	}
	v.put(suiteFile, content)
	reader, err := v.Open(v.Context(), suiteSet, suiteFile)
	if err != nil {
		v.Fatal(err)
	}
	var group sync.WaitGroup
	for part := range 8 {
		group.Go(func() {
			buf := make([]byte, 1<<20)
			offset := int64(part)<<20 + 3
			if n, err := reader.ReadAt(buf, offset); n != len(buf) || err != nil || !bytes.Equal(buf, content[offset:offset+1<<20]) {
				v.Errorf("ReadAt %d: %d, %v, or other bytes", offset, n, err)
			}
		})
	}
	group.Wait()
	buf := make([]byte, 100)
	if n, err := reader.ReadAt(buf, int64(len(content))-7); n != 7 || !errors.Is(err, io.EOF) || !bytes.Equal(buf[:n], content[len(content)-7:]) {
		v.Errorf("ReadAt over the end: %d, %v", n, err)
	}
	if n, err := reader.ReadAt(buf, int64(len(content))+1); n != 0 || !errors.Is(err, io.EOF) {
		v.Errorf("ReadAt behind the end: %d, %v", n, err)
	}
	if err := reader.Close(); err != nil {
		v.Error(err)
	}
}

func volumeManyFiles(v volumeTest) {
	v.claim()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			name := capstan.ArchiveName(suiteSet, capstan.ArchiveNumber(i+1), capstan.CodecZstd)
			file, err := v.Create(v.Context(), suiteSet, name)
			if err != nil {
				v.Error(err)
				return
			}
			_, err = fmt.Fprintf(file, "content %d", i)
			if err := errors.Join(err, file.Commit(v.Context())); err != nil {
				v.Error(err)
			}
		})
	}
	group.Wait()
	for i := range 8 {
		v.expect(capstan.ArchiveName(suiteSet, capstan.ArchiveNumber(i+1), capstan.CodecZstd), fmt.Appendf(nil, "content %d", i))
	}
}

func (v volumeTest) claim() {
	v.Helper()
	if err := v.ClaimSet(v.Context(), suiteSet, suiteOwner); err != nil {
		v.Fatalf("claim: %v", err)
	}
}

func (v volumeTest) put(name string, content []byte) {
	v.Helper()
	v.putIn(suiteSet, name, content)
}

func (v volumeTest) putIn(set capstan.SetID, name string, content []byte) {
	v.Helper()
	file, err := v.Create(v.Context(), set, name)
	if err != nil {
		v.Fatalf("create %s: %v", name, err)
	}
	if _, err = file.Write(content); err == nil {
		err = file.Commit(v.Context())
	}
	if err != nil {
		v.Fatalf("write %s: %v", name, err)
	}
}

// expect compares a finished file byte for byte.
func (v volumeTest) expect(name string, content []byte) {
	v.Helper()
	reader, err := v.Open(v.Context(), suiteSet, name)
	if err != nil {
		v.Errorf("open %s: %v", name, err)
		return
	}
	got, err := io.ReadAll(io.NewSectionReader(reader, 0, reader.Size()))
	if err := errors.Join(err, reader.Close()); err != nil {
		v.Errorf("read %s: %v", name, err)
	}
	if !bytes.Equal(got, content) {
		v.Errorf("%s holds %d bytes that are not the %d written", name, len(got), len(content))
	}
}

// absent makes sure that there is no finished file of the name.
func (v volumeTest) absent(name string) {
	v.Helper()
	if _, err := v.Open(v.Context(), suiteSet, name); !errors.Is(err, fs.ErrNotExist) {
		v.Errorf("open %s: %v, want that it is not there", name, err)
	}
	files, err := v.List(v.Context(), suiteSet)
	if err != nil || slices.ContainsFunc(files, func(f capstan.StoredFile) bool { return f.Name == name }) {
		v.Errorf("%s is listed: %v, %v", name, files, err)
	}
}
