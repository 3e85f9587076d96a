package tarfile

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"capstan"
)

// entryOf is an entry of a stream, with all of its content.
type entryOf struct {
	capstan.Entry
	content []byte
}

// readAll reads a stream to its end, or to what the parser does not take.
func readAll(stream []byte) (all []entryOf, err error) {
	var p Parser
	for r := bytes.NewReader(stream); ; {
		h, err := p.Next(r)
		if err != nil {
			return all, err
		}
		size := h.Entry.Location.Size
		if size+Padding(size) > int64(r.Len()) {
			return all, damaged("the content is cut off")
		}
		stored := make([]byte, size)
		if _, err := io.ReadFull(r, stored); err != nil {
			return all, err
		}
		if _, err := r.Seek(Padding(size), io.SeekCurrent); err != nil {
			return all, err
		}
		all = append(all, entryOf{h.Entry, stored})
	}
}

// whole is a file's content with its holes; false if that is too much to look at.
func (e *entryOf) whole() ([]byte, bool) {
	if !e.Sparse {
		return e.content, true
	}
	if e.Size > 1<<20 {
		return nil, false
	}
	out := make([]byte, e.Size)
	rest := e.content
	for _, x := range e.Data {
		copy(out[x.Offset:], rest[:x.Length])
		rest = rest[x.Length:]
	}
	return out, true
}

// FuzzStandard holds our reading of any bytes against that of Go's archive/tar: what
// both take for an entry is the same entry, with the same content.
func FuzzStandard(f *testing.F) {
	for _, m := range members() {
		b, err := AppendHeader(nil, &m.entry, m.entry.Path, int64(len(m.content)))
		if err != nil || len(m.content) > 4096 {
			continue
		}
		b = append(append(b, m.content...), make([]byte, Padding(int64(len(m.content))))...)
		f.Add(AppendEnd(b))
	}
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range []string{"a", strings.Repeat("long/", 30) + "name", "d/"} {
			h := &tar.Header{Name: name, Mode: 0o644, Size: 3, Format: format, Typeflag: tar.TypeReg}
			if strings.HasSuffix(name, "/") {
				h.Typeflag, h.Size = tar.TypeDir, 0
			}
			if err := w.WriteHeader(h); err != nil {
				f.Fatal(err)
			}
			if h.Size > 0 {
				if _, err := w.Write([]byte("abc")); err != nil {
					f.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add(sparseOfOld)
	f.Fuzz(func(t *testing.T, stream []byte) {
		stream = sealed(stream)
		ours, err := readAll(stream)
		if err != nil && !errors.Is(err, capstan.ErrDamaged) && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		theirs := tar.NewReader(bytes.NewReader(stream))
		for i := range ours {
			h, theirErr := theirs.Next()
			if theirErr != nil {
				return
			}
			content, theirErr := io.ReadAll(io.LimitReader(theirs, 1<<20))
			sameAs(t, &ours[i], h, content, theirErr)
		}
		if _, theirErr := theirs.Next(); errors.Is(err, io.EOF) && theirErr == nil {
			t.Fatal("it goes on where we end")
		}
	})
}

// sealed puts right checksums where headers would be, so that what the fuzzer changes
// in them is looked at.
func sealed(stream []byte) []byte {
	stream = bytes.Clone(stream)
	for at := 0; at+Block <= len(stream); at += Block {
		if b := stream[at : at+Block]; string(b[offMagic:offMagic+5]) == Magic {
			seal(b)
		}
	}
	return stream
}

func sameAs(t *testing.T, ours *entryOf, h *tar.Header, content []byte, contentErr error) {
	t.Helper()
	flag := h.Typeflag
	if flag == 0 || flag == tar.TypeGNUSparse {
		flag = tar.TypeReg
	}
	if ours.Path != strings.TrimSuffix(h.Name, "/") || typeFlags[ours.Kind] != flag {
		t.Fatalf("%q, a %s, is for Go %q of type %q", ours.Path, ours.Kind, h.Name, flag)
	}
	link := ours.Kind == capstan.KindSymlink || ours.Kind == capstan.KindHardlink
	if link && ours.Link != h.Linkname {
		t.Fatalf("%q links to %q, for Go to %q", ours.Path, ours.Link, h.Linkname)
	}
	if int64(ours.Mode) != h.Mode&0o7777 || int(ours.UID) != h.Uid || int(ours.GID) != h.Gid || ours.Size != h.Size || !ours.ModTime.Equal(h.ModTime) {
		t.Fatalf("%+v is for Go %+v", ours.Entry, h)
	}
	for _, x := range ours.Xattrs {
		found := false
		for key, value := range h.PAXRecords {
			if name, ok := strings.CutPrefix(key, xattrKey); ok && unescapeXattr(name) == x.Name {
				found = found || value == string(x.Value)
			}
		}
		if !found {
			t.Fatalf("%q: xattr %q=%q is for Go one of %q", ours.Path, x.Name, x.Value, h.PAXRecords)
		}
	}
	if got, ok := ours.whole(); ok && contentErr == nil && len(content) < 1<<20 && !bytes.Equal(got, content) {
		t.Fatalf("%q has other content for Go", ours.Path)
	}
}

// sparseOfOld is a sparse file in the form 0.1: its map is a record, and its content
// is without holes. Taken for a plain file it would be another file.
var sparseOfOld = func() []byte {
	const records = "22 GNU.sparse.size=1000\n29 GNU.sparse.numblocks=1\n27 GNU.sparse.map=500,3\n22 GNU.sparse.name=f\n"
	block := func(flag byte, size int64, name string) []byte {
		b := make([]byte, Block)
		copy(b, name)
		copy(b[offMagic:], posixMagic)
		copy(b[offMode:], "0000644")
		octal(b[offSize:offSize+11], size)
		octal(b[offMtime:offMtime+11], 1)
		b[offFlag] = flag
		seal(b)
		return b
	}
	var length int64
	var text []byte
	for line := range strings.Lines(records) {
		_, rest, _ := strings.Cut(line, " ")
		n := len(rest) + 3
		text = append(text, []byte(strings.Join([]string{string(rune('0' + n/10)), string(rune('0' + n%10)), " ", rest}, ""))...)
	}
	length = int64(len(text))
	b := append(block('x', length, "x"), text...)
	b = append(b, make([]byte, Padding(length))...)
	b = append(b, block('0', 3, "GNUSparseFile.1/f")...)
	b = append(b, "abc"...)
	return AppendEnd(append(b, make([]byte, Padding(3))...))
}()

// A sparse file of an older form is refused.
func TestRefusesOlderSparseForms(t *testing.T) {
	t.Parallel()
	h, err := tar.NewReader(bytes.NewReader(sparseOfOld)).Next()
	if err != nil || h.Size != 1000 || h.Name != "f" {
		t.Fatalf("the example is none: %+v, %v", h, err)
	}
	if all, err := readAll(sparseOfOld); len(all) > 0 || !errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("%+v, %v", all, err)
	}
}
