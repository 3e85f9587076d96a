package tree

import (
	"path/filepath"
	"strings"
	"testing"

	"capstan"
)

func FuzzCheckPath(f *testing.F) {
	for _, path := range []string{"", "a", "a/b", "../a", "a/..", "/a", "a//b", "a\x00", "./a", "...", "a/", "\xff/\n"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if checkPath(path) != nil {
			return
		}
		local := filepath.FromSlash(path)
		if !filepath.IsLocal(local) || filepath.Clean(local) != local || local == "." || strings.ContainsRune(path, 0) {
			t.Errorf("%q was accepted", path)
		}
	})
}

// memory is a file in memory that refuses what lies outside of its size.
type memory struct {
	t       *testing.T
	content []byte
	written []bool
}

func (m *memory) WriteAt(b []byte, offset int64) (int, error) {
	if offset < 0 || offset+int64(len(b)) > int64(len(m.content)) {
		m.t.Fatalf("write of %d bytes at %d, size %d", len(b), offset, len(m.content))
	}
	for i := range b {
		if m.written[offset+int64(i)] {
			m.t.Fatalf("byte %d written twice", offset+int64(i))
		}
		m.written[offset+int64(i)] = true
	}
	return copy(m.content[offset:], b), nil
}

func (m *memory) Truncate(size int64) error {
	if size != int64(len(m.content)) {
		m.t.Fatalf("truncated to %d, size %d", size, len(m.content))
	}
	return nil
}

// FuzzLayout lays content out in ranges that foreign bytes describe.
func FuzzLayout(f *testing.F) {
	f.Add(int64(100), true, []byte{10, 5, 20, 0, 20, 80}, uint8(7), int64(85))
	f.Add(int64(100), false, []byte{}, uint8(100), int64(100))
	f.Add(int64(9), true, []byte{9, 0}, uint8(1), int64(0))
	f.Add(int64(0), true, []byte{}, uint8(1), int64(1))
	f.Fuzz(func(t *testing.T, size int64, sparse bool, ranges []byte, chunk uint8, give int64) {
		if size > 1000 || give > 2000 || give < 0 || chunk == 0 {
			return
		}
		e := capstan.Entry{Kind: capstan.KindFile, Size: size, Sparse: sparse}
		for i := 0; i+1 < len(ranges); i += 2 {
			e.Data = append(e.Data, capstan.Extent{Offset: int64(ranges[i]), Length: int64(int8(ranges[i+1]))})
		}
		plan, err := newLayout(&e)
		if err != nil {
			return
		}
		m := &memory{t: t, content: make([]byte, size), written: make([]bool, size)}
		stored := []byte(strings.Repeat("x", int(give)))
		r := strings.NewReader(string(stored))
		buf := make([]byte, chunk)
		n, done, err := fill(r, buf)
		if err != nil {
			t.Fatal(err)
		}
		err = plan.copyRest(t.Context(), m, r, buf, n, done)
		if (err == nil) != (give == e.StoredSize()) {
			t.Errorf("%d bytes of %d: %v", give, e.StoredSize(), err)
		}
		if err == nil && int64(strings.Count(string(m.content), "x")) != give {
			t.Errorf("%d bytes placed of %d", strings.Count(string(m.content), "x"), give)
		}
	})
}
