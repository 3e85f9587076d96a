package manifest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/tarfile"
)

// oddName holds what shells, printf and terminals trip over.
const oddName = "- %s $(x) 'q' \"d\" \\n \xff\n\té…\n"

// The commands of RESTORE.txt, run by sh as they stand, give the tree back: two
// sets of a chain with deletions, hard links, odd names and a split file.
func TestGuideRestores(t *testing.T) {
	t.Parallel()
	for _, codec := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip, capstan.CodecNone, "mixed"} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			source, target := t.TempDir(), filepath.Join(t.TempDir(), "new", "target")
			firstTree(t, source)
			first := newHandmadeSet(t, source, "2026-10_000001")
			first.guide.See(&capstan.Entry{Path: "data/" + oddName, Kind: capstan.KindFile, Outcome: capstan.OutcomeStored, Parts: make([]capstan.Part, 3)})
			first.guide.See(&capstan.Entry{Path: "data/zz link", Kind: capstan.KindHardlink, Outcome: capstan.OutcomeStored, Link: "data/" + oddName})
			first.pack(t, codec, 1, "-i", "data", "data/a", "data/dir", "data/dir/b")
			first.packParts(t, codec, 2, "data/"+oddName, 3)
			first.pack(t, codec, 3, "data/dir/hard", "data/dir/b", "data/kept", "data/link", "data/old", "data/old/-rf", "data/old/\n")
			first.finish(t)
			first.restore(t, target)
			same(t, source, target)

			secondTree(t, source)
			second := newHandmadeSet(t, source, "2026-11_000001")
			second.guide.Chain = []capstan.SetID{"2026-10_000001"}
			second.pack(t, codec, 1, "data", "data/a", "data/kept", "data/new")
			deleted := []string{"-i", "data/dir/b", "data/link", "data/old", "data/old/-rf", "data/old/\n"}
			second.writeDeleted(t, deleted)
			second.finish(t)
			second.restore(t, target)
			same(t, source, target)
		})
	}
}

// The loop over the archives that the notes tell of, instead of the one pass,
// restores too; the one pass keeps the times of directories.
func TestGuideLoop(t *testing.T) {
	t.Parallel()
	for _, codec := range []capstan.Codec{capstan.CodecZstd, capstan.CodecGzip, capstan.CodecNone, "mixed"} {
		source := t.TempDir()
		firstTree(t, source)
		remove(t, filepath.Join(source, "data", oddName), filepath.Join(source, "data/zz link"))
		old := time.Unix(1_600_000_000, 0)
		if err := os.Chtimes(filepath.Join(source, "data"), old, old); err != nil {
			t.Fatal(err)
		}
		set := newHandmadeSet(t, source, "2026-10_000001")
		set.pack(t, codec, 1, "-i", "data", "data/a", "data/dir", "data/dir/b")
		set.pack(t, codec, 2, "data/dir/hard", "data/dir/b", "data/kept", "data/link", "data/old", "data/old/-rf", "data/old/\n")
		set.finish(t)
		target := filepath.Join(t.TempDir(), "target")
		set.restore(t, target)
		same(t, source, target)
		if info, err := os.Stat(filepath.Join(target, "data")); err != nil || !info.ModTime().Equal(old) {
			t.Errorf("%s: directory time %v, %v", codec, info, err)
		}

		commands, note, found := strings.Cut(set.text(t), "\nNotes\n")
		if !found {
			t.Fatal("no notes")
		}
		var script strings.Builder
		for line := range strings.Lines(commands) {
			if strings.HasPrefix(line, "    (cd ") {
				break
			}
			if command, ok := strings.CutPrefix(line, "    "); ok {
				script.WriteString(command)
			}
		}
		_, note, _ = strings.Cut(note, "\n  for archive do\n")
		loop, _, found := strings.Cut(note, "\n  done\n")
		if !found {
			t.Fatal("no loop")
		}
		target = t.TempDir()
		set.run(t, script.String()+"for archive do\n"+loop+"\ndone\n", target)
		same(t, source, target)
	}
}

func TestGuideText(t *testing.T) {
	t.Parallel()
	guide := Guide{Set: capstan.Set{
		ID: "2026-11_000001", Job: "nightly", Status: capstan.RunComplete, Host: "files.example",
		Started: time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC), Sources: []string{"/srv/data", "/srv/od\nd\n    rm -rf /"},
	}}
	var text bytes.Buffer
	if err := guide.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2026-11_000001", "nightly", "files.example", "2026-11-20T01:02:03Z", "complete", "/srv/data", "nothing to extract"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &text)
		}
	}
	if strings.Contains(text.String(), "\n    rm") {
		t.Error("a source's name became a command")
	}
	guide.Archives = []capstan.Archive{{Name: "x; rm -rf /"}}
	if err := guide.Write(&text); err == nil {
		t.Error("an archive name that is a command was written")
	}
}

func TestSetVariable(t *testing.T) {
	t.Parallel()
	names := []string{"plain", "it's", "-n", "a b", "$HOME", "`id`", `\`, "é", "\n", "\n\n", "x\n", "%d%%", "\x01\x7f\xff\xfe", oddName}
	var all []byte
	for c := range 255 {
		all = append(all, byte(c+1))
	}
	for _, name := range append(names, string(all)) {
		command := exec.CommandContext(t.Context(), "sh", "-c", setVariable("f", name)+"\nprintf %s \"$f\"")
		out, err := command.CombinedOutput()
		if err != nil || string(out) != "./"+name {
			t.Errorf("%q became %q, %v", name, out, err)
		}
	}
}

// handmadeSet is a set's directory made by stock tools.
type handmadeSet struct {
	source, dir string
	guide       Guide
	sums        []Sum
	as          *syscall.SysProcAttr // that the commands of RESTORE.txt are run with
}

func newHandmadeSet(t *testing.T, source string, id capstan.SetID) *handmadeSet {
	return &handmadeSet{source: source, dir: t.TempDir(), guide: Guide{Set: capstan.Set{ID: id}}}
}

// pack makes an archive of the paths with stock tar.
func (s *handmadeSet) pack(t *testing.T, codec capstan.Codec, number capstan.ArchiveNumber, paths ...string) {
	t.Helper()
	s.tar(t, s.source, codec, number, paths)
}

// packParts makes an archive of a file cut into parts of one attribute each.
func (s *handmadeSet) packParts(t *testing.T, codec capstan.Codec, number capstan.ArchiveNumber, path string, parts int) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(s.source, path))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(s.source, path))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	size := (len(content) + parts - 1) / parts
	var names []string
	for chunk := range slices.Chunk(content, size) {
		name := tarfile.PartName(path, len(names)+1)
		names = append(names, name)
		write(t, filepath.Join(dir, name), string(chunk), info.Mode(), info.ModTime())
	}
	s.tar(t, dir, codec, number, names)
}

func (s *handmadeSet) tar(t *testing.T, dir string, codec capstan.Codec, number capstan.ArchiveNumber, paths []string) {
	t.Helper()
	if codec == "mixed" {
		codec = []capstan.Codec{capstan.CodecNone, capstan.CodecZstd, capstan.CodecGzip}[number%3]
	}
	name := capstan.ArchiveName(s.guide.Set.ID, number, codec)
	flag := map[capstan.Codec]string{capstan.CodecZstd: "--zstd", capstan.CodecGzip: "--gzip", capstan.CodecNone: "--sparse"}[codec]
	command := exec.CommandContext(t.Context(), "tar", "-C", dir, "--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--no-recursion", "--null", "--verbatim-files-from", flag,
		"-cf", filepath.Join(s.dir, name), "-T", "-")
	command.Stdin = strings.NewReader(strings.Join(paths, "\x00"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	s.guide.Archives = append(s.guide.Archives, capstan.Archive{Set: s.guide.Set.ID, Number: number, Name: name, Codec: codec})
	s.sum(t, name)
}

func (s *handmadeSet) writeDeleted(t *testing.T, paths []string) {
	t.Helper()
	var list bytes.Buffer
	writer := NewDeletedWriter(&list)
	for _, path := range paths {
		s.guide.See(&capstan.Entry{Path: path, Kind: capstan.KindFile, Outcome: capstan.OutcomeDeleted})
		if err := writer.Add(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, DeletedName), list.String(), 0o600, time.Now())
	s.sum(t, DeletedName)
}

func (s *handmadeSet) sum(t *testing.T, name string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	s.sums = append(s.sums, Sum{name, sha256.Sum256(content)})
}

func (s *handmadeSet) finish(t *testing.T) {
	t.Helper()
	write(t, filepath.Join(s.dir, GuideName), s.text(t), 0o600, time.Now())
	s.sum(t, GuideName)
	var sums bytes.Buffer
	if err := WriteSums(&sums, s.sums); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, SumsName), sums.String(), 0o600, time.Now())
}

func (s *handmadeSet) text(t *testing.T) string {
	t.Helper()
	var text bytes.Buffer
	if err := s.guide.Write(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// restore runs the commands of the RESTORE.txt that lies in the set.
func (s *handmadeSet) restore(t *testing.T, target string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, GuideName))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			script.WriteString(command)
		}
	}
	s.run(t, script.String(), target)
}

func (s *handmadeSet) run(t *testing.T, script, target string) {
	t.Helper()
	if !strings.Contains(script, "target=/restore\n") {
		t.Fatalf("no target to choose:\n%s", script)
	}
	script = strings.Replace(script, "target=/restore\n", "target='"+target+"'\n", 1)
	command := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	command.Dir, command.SysProcAttr = s.dir, s.as
	command.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := command.CombinedOutput()
	if err != nil || strings.Contains(string(out), "problem") || strings.Contains(string(out), "FAILED") {
		t.Fatalf("%v\n%s\nscript:\n%s", err, out, script)
	}
	for _, sum := range s.sums {
		if !strings.Contains(string(out), sum.Name+": OK\n") {
			t.Errorf("%s was not checked:\n%s", sum.Name, out)
		}
	}
}

func firstTree(t *testing.T, dir string) {
	t.Helper()
	at := time.Unix(1_700_000_000, 123_456_789)
	for name, mode := range map[string]fs.FileMode{
		"data/a": 0o644, "data/dir/b": 0o600, "data/kept": 0o4755, "data/old/-rf": 0o644, "data/old/\n": 0o644, "-i": 0o644, "data/" + oddName: 0o440,
	} {
		write(t, filepath.Join(dir, name), strings.Repeat("content of "+name+"\n", 1000), mode, at)
	}
	for _, err := range []error{
		os.Link(filepath.Join(dir, "data/dir/b"), filepath.Join(dir, "data/dir/hard")),
		os.Link(filepath.Join(dir, "data", oddName), filepath.Join(dir, "data/zz link")),
		os.Symlink("nowhere/'\n", filepath.Join(dir, "data/link")),
		syscall.Setxattr(filepath.Join(dir, "data/a"), "user.capstan", []byte("value"), 0),
		syscall.Setxattr(filepath.Join(dir, "data/a"), "trusted.capstan", []byte("trust"), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func secondTree(t *testing.T, dir string) {
	t.Helper()
	at := time.Unix(1_710_000_000, 5)
	remove(t, filepath.Join(dir, "-i"), filepath.Join(dir, "data/dir/b"), filepath.Join(dir, "data/link"), filepath.Join(dir, "data/old"))
	write(t, filepath.Join(dir, "data/a"), "changed", 0o600, at)
	write(t, filepath.Join(dir, "data/new"), "new", 0o600, at)
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

// same compares two trees: names, kinds, modes, owners, contents, links, times
// of all but directories.
func same(t *testing.T, want, got string) {
	t.Helper()
	if w, g := describe(t, want), describe(t, got); w != g {
		t.Errorf("restored:\n%s\nsource:\n%s", g, w)
	}
}

func describe(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		for _, name := range []string{"user.capstan", "trusted.capstan"} {
			value := make([]byte, 100)
			if n, err := syscall.Getxattr(path, name, value); err == nil {
				fmt.Fprintf(&b, "%s=%s ", name, value[:n])
			}
		}
		fmt.Fprintf(&b, "%q %v %d:%d", strings.TrimPrefix(path, dir), info.Mode(), stat.Uid, stat.Gid)
		if !info.IsDir() {
			fmt.Fprintf(&b, " links=%d", stat.Nlink)
		}
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x %v", sha256.Sum256(content), info.ModTime())
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %q", to)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
