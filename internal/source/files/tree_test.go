package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan"
)

// got is an emitted item with its content.
type got struct {
	capstan.Entry
	content []byte
	err     error // of reading the content
	drift   string
}

// tree writes files below a new directory named "data": a name that ends in a
// slash is a directory, any other a file with the given content.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(root, 0o755))
	for name, content := range files {
		write(t, filepath.Join(root, name)+suffixOf(name), content)
	}
	return root
}

func suffixOf(name string) string {
	if strings.HasSuffix(name, "/") {
		return "/"
	}
	return ""
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if strings.HasSuffix(path, "/") {
		must(t, os.MkdirAll(path, 0o755))
		return
	}
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string, opt Options) *Source {
	t.Helper()
	s, err := New(path, opt)
	must(t, err)
	return s
}

// collect scans and reads everything, and checks what holds for every scan.
func collect(t *testing.T, s *Source, baseline capstan.Baseline) []got {
	t.Helper()
	var all []got
	err := s.Scan(t.Context(), baseline, func(_ context.Context, b capstan.Batch) error {
		all = append(all, consume(t, b)...)
		return nil
	})
	must(t, err)
	for i := range all {
		if i > 0 && capstan.ComparePaths(all[i-1].Path, all[i].Path) >= 0 {
			t.Errorf("%q comes before %q", all[i-1].Path, all[i].Path)
		}
	}
	return all
}

// consume reads the contents of a batch, copies the data, and releases it.
func consume(t *testing.T, b capstan.Batch) []got {
	t.Helper()
	var data int
	all := make([]got, 0, len(b.Items))
	for i := range b.Items {
		item := &b.Items[i]
		g := got{Entry: item.Entry}
		switch {
		case item.Content != nil:
			g.content, g.err = io.ReadAll(item.Content)
			g.drift = item.Content.Drift()
			must(t, item.Content.Close())
		case item.Data != nil:
			data += len(item.Data)
			g.content = slices.Clone(item.Data)
			if int64(len(item.Data)) != item.Entry.StoredSize() {
				t.Errorf("%q: %d bytes of data, stored size %d", g.Path, len(item.Data), item.Entry.StoredSize())
			}
			if item.Entry.Hash != sha256.Sum256(item.Data) {
				t.Errorf("%q: the hash is not that of the data", g.Path)
			}
		case g.Kind == capstan.KindFile && g.Outcome == capstan.OutcomeStored:
			t.Errorf("%q has no content", g.Path)
		}
		all = append(all, g)
	}
	if len(b.Items) == 0 || len(b.Items) > batchItems || data > batchData {
		t.Errorf("a batch of %d items with %d bytes", len(b.Items), data)
	}
	if b.Release != nil {
		b.Release()
	}
	return all
}

// byPath finds an entry; a missing one fails the test.
func byPath(t *testing.T, all []got, path string) got {
	t.Helper()
	for _, g := range all {
		if g.Path == path {
			return g
		}
	}
	t.Fatalf("%q was not emitted", path)
	return got{}
}

// outcomes gives "path outcome" lines, for comparing whole scans.
func outcomes(all []got) []string {
	lines := make([]string, len(all))
	for i, g := range all {
		lines[i] = g.Path + " " + g.Outcome.String()
	}
	return lines
}

func wantOutcomes(t *testing.T, all []got, want ...string) {
	t.Helper()
	if lines := outcomes(all); !slices.Equal(lines, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(lines, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// kept is a baseline made of what an earlier scan emitted, in its order.
type kept struct {
	entries []capstan.Entry
	hook    func(path string) error // called before each is yielded, may change the tree
}

func keep(all []got) *kept {
	k := &kept{}
	for _, g := range all {
		g.Location = capstan.Location{Archive: 1, Offset: int64(len(g.Path)) * 512, Size: g.StoredSize()}
		k.entries = append(k.entries, g.Entry)
	}
	return k
}

// earlier makes it the baseline of an earlier set, which has no locations.
func (k *kept) earlier() {
	for i := range k.entries {
		k.entries[i].Location = capstan.Location{}
	}
}

// forget takes one path out of the baseline.
func (k *kept) forget(path string) {
	k.entries = slices.DeleteFunc(k.entries, func(e capstan.Entry) bool { return e.Path == path })
}

func (k *kept) at(path string) *capstan.Entry {
	i := slices.IndexFunc(k.entries, func(e capstan.Entry) bool { return e.Path == path })
	if i < 0 {
		return &capstan.Entry{}
	}
	return &k.entries[i]
}

func (k *kept) Walk(_ context.Context, name string) iter.Seq2[capstan.Entry, error] {
	return func(yield func(capstan.Entry, error) bool) {
		for _, e := range k.entries {
			if !capstan.Within(e.Path, name) {
				continue
			}
			if k.hook != nil {
				if err := k.hook(e.Path); err != nil {
					yield(capstan.Entry{}, err)
					return
				}
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

var errTest = errors.New("made up by the test")
