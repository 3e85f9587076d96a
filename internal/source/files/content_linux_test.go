package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
)

// contents scans a tree and gives the contents of its large files by path, not
// yet read.
func contents(t *testing.T, root string, during func(emitted int)) map[string]capstan.Content {
	t.Helper()
	found := map[string]capstan.Content{}
	err := open(t, root, Options{}).Scan(t.Context(), nil, func(_ context.Context, b capstan.Batch) error {
		for _, item := range b.Items {
			if item.Content != nil {
				found[item.Entry.Path] = item.Content
			}
		}
		if during != nil {
			during(len(found))
		}
		return nil
	})
	must(t, err)
	return found
}

func TestDrift(t *testing.T) {
	t.Parallel()
	const size = smallContent * 2
	cases := []struct {
		name   string
		change func(path string) error
		bytes  int
		says   string
	}{
		{"nothing", func(string) error { return nil }, size, ""},
		{"grows", func(path string) error { return os.Truncate(path, size+5) }, size, fmt.Sprintf("grew from %d to %d bytes", size, size+5)},
		{"shrinks", func(path string) error { return os.Truncate(path, 1000) }, 1000, fmt.Sprintf("shrank from %d to 1000 bytes", size)},
		{"is emptied", func(path string) error { return os.Truncate(path, 0) }, 0, fmt.Sprintf("shrank from %d to 0 bytes", size)},
		{"is written", func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("n"), size), 0o644) }, size, "was written while it was read"},
		{"is chmodded", func(path string) error { return os.Chmod(path, 0o600) }, size, "had its attributes changed while it was read"},
	}
	for _, c := range cases {
		root := tree(t, map[string]string{"large": strings.Repeat("o", size)})
		content := contents(t, root, nil)["data/large"]
		must(t, c.change(filepath.Join(root, "large")))
		all, err := io.ReadAll(content)
		if err != nil || len(all) != c.bytes || content.Drift() != c.says {
			t.Errorf("%s: %d bytes, %v, %q", c.name, len(all), err, content.Drift())
		}
		must(t, content.Close())
		if _, err := content.Read(all[:0]); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: reading after Close gives %v", c.name, err)
		}
	}
}

// A sparse file that is cut short ends early.
func TestSparseShrinks(t *testing.T) {
	t.Parallel()
	root := tree(t, nil)
	path := filepath.Join(root, "sparse")
	sparse(t, path, 1<<30, map[int64]string{0: strings.Repeat("a", 100000), 1 << 29: strings.Repeat("b", 100000)})
	content := contents(t, root, nil)["data/sparse"]
	must(t, os.Truncate(path, 1<<28))
	all, err := io.ReadAll(content)
	if err != nil || len(all) < 100000 || len(all) > 110000 || !strings.HasPrefix(content.Drift(), "shrank") {
		t.Errorf("%d bytes, %v, %q", len(all), err, content.Drift())
	}
	must(t, content.Close())
}

func openFiles(t *testing.T, below string) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	n := 0
	for _, name := range names {
		if target, err := os.Readlink("/proc/self/fd/" + name.Name()); err == nil && strings.HasPrefix(target, below) {
			n++
		}
	}
	return n
}

// However many contents a consumer holds, the open files are bounded; all can be
// read, also after Scan has returned; and no descriptor is left.
func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	const files = 600
	root := manyFiles(t, 6, files/6, smallContent+1)
	most := 0
	found := contents(t, root, func(int) { most = max(most, openFiles(t, root)) })
	if left := openFiles(t, root); len(found) != files || most > 128+100 || left > 128+1 {
		t.Errorf("%d contents, %d files open, %d at the end", len(found), most, left)
	}
	for path, content := range found {
		n, err := io.Copy(io.Discard, content)
		if err != nil || n != smallContent+1 || content.Drift() != "" {
			t.Errorf("%s: %d bytes, %v, %q", path, n, err, content.Drift())
		}
		must(t, content.Close())
		must(t, content.Close())
	}
	if n := openFiles(t, root); n != 0 {
		t.Errorf("%d files are still open", n)
	}
}

// A content that is opened late must not be another file's.
func TestLateContentChecksIdentity(t *testing.T) {
	t.Parallel()
	root := manyFiles(t, 1, maxOpenContents*2, smallContent+1)
	found := contents(t, root, nil)
	late := 0
	for path, c := range found {
		host := filepath.Join(filepath.Dir(root), path)
		want := fs.ErrNotExist
		must(t, os.Rename(host, host+".old"))
		if late%2 == 1 {
			want = errReplaced
			must(t, os.WriteFile(host, bytes.Repeat([]byte("x"), smallContent+1), 0o644))
		}
		if c.(*content).opened {
			must(t, c.Close())
			continue
		}
		late++
		_, err := io.Copy(io.Discard, c)
		if !errors.Is(err, want) {
			t.Errorf("%v instead of %v", err, want)
		}
		must(t, c.Close())
	}
	if late == 0 {
		t.Error("no content was opened late")
	}
}

// Nothing stays open after a scan that ended early.
func TestCancelLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	root := manyFiles(t, 50, 20, smallContent+1)
	for after := range 3 {
		ctx, cancel := context.WithCancelCause(t.Context())
		batches := 0
		err := open(t, root, Options{}).Scan(ctx, nil, func(ctx context.Context, b capstan.Batch) error {
			if batches++; batches > after {
				cancel(errTest)
			}
			return discard(ctx, b)
		})
		cancel(nil)
		if !errors.Is(err, errTest) {
			t.Errorf("after %d: %v", after, err)
		}
		if n := openFiles(t, root); n != 0 {
			t.Errorf("after %d: %d files are still open", after, n)
		}
	}
}

// On the way down through a deep tree, the directories above are not all kept open.
func TestOpenDirectoriesAreBounded(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{strings.Repeat("d/", 300): "", strings.Repeat("d/", 300) + "deepest": "", "z": ""})
	entered, most := 0, 0
	s := open(t, root, Options{Hooks: Hooks{Entries: func(int) {
		entered++ // by the walker alone
		most = max(most, openFiles(t, root))
	}}})
	all := collect(t, s, nil)
	if len(all) != 303 || entered != 302 || most > 48+40 {
		t.Errorf("%d entries, %d directories entered, %d open at once", len(all), entered, most)
	}
}
