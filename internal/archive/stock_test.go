//go:build linux

package archive

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"capstan"
)

// run executes a stock command that must succeed silently.
func run(t *testing.T, dir string, command ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Errorf("%v: %v: %s", command, err, errs.String())
	}
	return out
}

// Stock programs test, list and extract the archives of every codec.
func TestStockPrograms(t *testing.T) {
	t.Parallel()
	things := mixed(8, 60)
	things = append(things, file("t/zz-noise", noise(1, 1_200_000), true), file("t/zz-split", text(1, 3_000_000), true))
	tests := map[capstan.Codec]struct {
		check   []string
		extract [][]string
	}{
		capstan.CodecZstd: {[]string{"zstd", "-q", "-t"}, [][]string{{"tar", "--zstd", "-xpf"}, {"bsdtar", "-xpf"}, {"tar", "-xpf"}}},
		capstan.CodecGzip: {[]string{"gzip", "-t"}, [][]string{{"tar", "-xzpf"}, {"bsdtar", "-xpf"}}},
		capstan.CodecNone: {[]string{"true"}, [][]string{{"tar", "-xpf"}, {"bsdtar", "-xpf"}}},
	}
	for c, tt := range tests {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			sink := packAll(t, Options{Codec: c, FrameSize: 100_000, ArchiveSize: 2_000_000}, things)
			var names []string
			for _, a := range sink.sealed {
				name := filepath.Join(dir, capstan.ArchiveName("2026-11_000001", a.Number, c))
				if err := os.WriteFile(name, sink.file(a.Number), 0o600); err != nil {
					t.Fatal(err)
				}
				names = append(names, name)
				run(t, dir, append(slices.Clone(tt.check), name)...)
			}
			for _, extract := range tt.extract {
				to := t.TempDir()
				for _, name := range names {
					run(t, to, append(slices.Clone(extract), name)...)
				}
				run(t, to, "sh", "-c", "cat t/zz-split.capstan-part-* > t/zz-split && rm t/zz-split.capstan-part-*")
				for i := range things {
					checkExtracted(t, extract[0], filepath.Join(to, things[i].entry.Path), &things[i])
				}
			}
		})
	}
}

func checkExtracted(t *testing.T, tool, path string, want *thing) {
	t.Helper()
	switch want.entry.Kind {
	case capstan.KindFile:
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want.logical()) {
			t.Errorf("%s: %s has %d bytes, %v", tool, path, len(got), err)
		}
	case capstan.KindSymlink:
		if target, err := os.Readlink(path); err != nil || target != want.entry.Link {
			t.Errorf("%s: %s points to %q, %v", tool, path, target, err)
		}
	default:
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			t.Errorf("%s: %s: %v", tool, path, err)
		}
	}
}

// logical is the content with its holes.
func (t *thing) logical() []byte {
	if !t.entry.Sparse {
		return t.data
	}
	b := make([]byte, t.entry.Size)
	rest := t.data
	for _, x := range t.entry.Data {
		copy(b[x.Offset:], rest[:x.Length])
		rest = rest[x.Length:]
	}
	return b
}

// The stock programs list every golden archive without a word.
func TestStockReadsGolden(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob(filepath.Join(goldenDir, "*", "*", "*_0001.tar*"))
	if err != nil || len(dirs) < 4 {
		t.Fatalf("%v, %v", dirs, err)
	}
	for _, first := range dirs {
		names, err := filepath.Glob(filepath.Join(filepath.Dir(first), "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range []string{"tar", "bsdtar"} {
			count := 0
			for _, name := range names {
				count += bytes.Count(run(t, ".", tool, "-tf", name), []byte("\n"))
			}
			if count < len(goldenThings()) {
				t.Errorf("%s lists %d entries of %s", tool, count, filepath.Dir(first))
			}
		}
	}
}
