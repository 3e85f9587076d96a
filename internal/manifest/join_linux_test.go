package manifest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/tarfile"
)

// nobody is a user without rights, where the tests run as root.
const nobody = 65534

// unprivileged makes the commands of a set run without rights, on trees that
// belong to whoever runs them.
func (s *handmadeSet) unprivileged(t *testing.T, trees ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	s.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	for _, tree := range append(trees, s.dir) {
		if err := os.Chmod(filepath.Dir(tree), 0o755); err != nil { //nolint:gosec // others shall come in
			t.Fatal(err)
		}
		err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, nobody, nobody)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Without root, a read-only directory gets all files and parts, whatever archives
// they are in, its mode and its time.
func TestGuideReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	at, old := time.Unix(1_700_000_000, 5), time.Unix(1_600_000_000, 987_654_321)
	long := "d/" + strings.Repeat("long", 61) + "x"
	for _, codec := range []capstan.Codec{capstan.CodecZstd, "mixed"} {
		source, target := t.TempDir(), t.TempDir()
		for _, name := range []string{"d/a", "d/b", "d/split", "d/z", long, "top"} {
			write(t, filepath.Join(source, name), strings.Repeat(name+"\n", 500), 0o444, at)
		}
		dir := filepath.Join(source, "d")
		if err := os.Link(filepath.Join(dir, "split"), filepath.Join(dir, "split link")); err != nil {
			t.Fatal(err)
		}
		set := newHandmadeSet(t, source, "2026-10_000001")
		set.unprivileged(t, source, target)
		for _, err := range []error{os.Chtimes(dir, old, old), os.Chmod(dir, 0o555)} { //nolint:gosec // the case
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range []string{long, "d/split", "top"} {
			set.guide.See(&capstan.Entry{Path: path, Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Parts: make([]capstan.Part, 2)})
		}
		set.guide.See(&capstan.Entry{Path: "d/split link", Kind: capstan.KindHardlink, Outcome: capstan.OutcomeStored, Link: "d/split"})
		set.pack(t, codec, 1, "d", "d/a")
		set.pack(t, codec, 2, "d/b")
		set.packParts(t, codec, 3, "d/split", 2)
		set.packParts(t, codec, 4, long, 2)
		set.pack(t, codec, 5, "d/z")
		set.packParts(t, codec, 6, "top", 2)
		set.finish(t)
		set.unprivileged(t)
		set.restore(t, target)
		same(t, source, target)
		info, err := os.Stat(filepath.Join(target, "d"))
		if err != nil || info.Mode().Perm() != 0o555 || !info.ModTime().Equal(old) {
			t.Errorf("directory %v, %v", info, err)
		}
	}
}

// A hard link to a split file is left out by tar, and made afterwards, without a
// word on the way.
func TestGuideLinkToSplitFile(t *testing.T) {
	t.Parallel()
	source, target := t.TempDir(), t.TempDir()
	write(t, filepath.Join(source, "a/[x]*\\"), strings.Repeat("content\n", 100), 0o600, time.Unix(1, 0))
	links := []string{"a/l?nk", "b/" + oddName}
	write(t, filepath.Join(source, "b/other"), "other", 0o600, time.Unix(1, 0))
	set := newHandmadeSet(t, source, "2026-10_000001")
	set.guide.See(&capstan.Entry{Path: "a/[x]*\\", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Parts: make([]capstan.Part, 2)})
	for _, link := range links {
		if err := os.Link(filepath.Join(source, "a/[x]*\\"), filepath.Join(source, link)); err != nil {
			t.Fatal(err)
		}
		set.guide.See(&capstan.Entry{Path: link, Kind: capstan.KindHardlink, Outcome: capstan.OutcomeStored, Link: "a/[x]*\\"})
	}
	set.packParts(t, capstan.CodecNone, 1, "a/[x]*\\", 2)
	// tar stores the first name that it meets as the file, so the links go as
	// links to a file that the target will not have.
	set.pack(t, capstan.CodecNone, 2, "a/[x]*\\", links[0], links[1], "b/other")
	drop(t, filepath.Join(set.dir, set.guide.Archives[1].Name), "a/[x]*\\")
	set.sums = set.sums[:1]
	set.sum(t, set.guide.Archives[1].Name)
	set.finish(t)
	set.restore(t, target) // fails at "problem"
	same(t, source, target)
}

// drop removes the first entry, which has 800 bytes of content, from a tar archive.
func drop(t *testing.T, archive, path string) {
	t.Helper()
	content, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	parser, source := tarfile.Parser{}, bytes.NewReader(content)
	header, err := parser.Next(source)
	if err != nil || header.Entry.Path != path || header.Entry.Size != 800 {
		t.Fatalf("%+v, %v", header, err)
	}
	rest := content[header.Length+800+tarfile.Padding(800):]
	if err := os.WriteFile(archive, rest, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Joined, a sparse file takes no more room than before.
func TestGuideSparse(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	source, target, parts := t.TempDir(), t.TempDir(), t.TempDir()
	data := bytes.Repeat([]byte("data"), mib/4)
	entry := capstan.Entry{Path: "image", Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Sparse: true, Size: 100*mib + 77}
	cuts := []int64{0, 20*mib + 512, 60 * mib, entry.Size}
	set := newHandmadeSet(t, source, "2026-10_000001")
	sparse := func(path string, from, to int64) {
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int64{0, 20 * mib, 40 * mib, 59 * mib, 70 * mib} {
			if at := max(off, from); at < min(off+mib, to) {
				if _, err := file.WriteAt(data[at-off:min(off+mib, to)-off], at-from); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := file.Truncate(to - from); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(5, 0), time.Unix(5, 0)); err != nil {
			t.Fatal(err)
		}
	}
	sparse(filepath.Join(source, "image"), 0, entry.Size)
	var names []string
	for i, start := range cuts[:3] {
		names = append(names, tarfile.PartName("image", i+1))
		sparse(filepath.Join(parts, names[i]), start, cuts[i+1])
		entry.Parts = append(entry.Parts, capstan.Part{Start: start, Length: cuts[i+1] - start})
	}
	set.guide.See(&entry)
	set.tar(t, parts, capstan.CodecNone, 1, names)
	set.finish(t)
	set.restore(t, target)
	same(t, source, target)
	want, got := blocks(t, filepath.Join(source, "image")), blocks(t, filepath.Join(target, "image"))
	if got > want+mib/512 {
		t.Errorf("it takes %d blocks instead of %d", got, want)
	}
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks
}

// What stock tar cannot make, RESTORE.txt says.
func TestGuideLongPaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{strings.Repeat("a/", 2000) + "b": false, strings.Repeat("a/", 2048) + "b": true} {
		guide := Guide{}
		guide.See(&capstan.Entry{Path: path, Kind: capstan.KindDir, Outcome: capstan.OutcomeStored})
		var text bytes.Buffer
		if err := guide.Write(&text); err != nil || strings.Contains(text.String(), "File name too long") != want {
			t.Errorf("%d bytes: %v\n%s", len(path), err, &text)
		}
	}
}
