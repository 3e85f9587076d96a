package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan"
)

func TestSumsAgainstSha256sum(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var sums []Sum
	for _, name := range []string{"backup_2026-11_000001_0001.tar.zst", "DELETED", "with space", " *", `back\slash`, "new\nline", "cr\r", `\n`, "é", "\xff"} {
		write(t, filepath.Join(dir, name), "content of "+name, 0o600, time.Now())
		sums = append(sums, Sum{name, sha256.Sum256([]byte("content of " + name))})
	}
	var ours bytes.Buffer
	if err := WriteSums(&ours, sums); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, SumsName), ours.String(), 0o600, time.Now())
	check := exec.CommandContext(t.Context(), "sha256sum", "--strict", "-c", SumsName)
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK\n") != len(sums) {
		t.Errorf("%v\n%s\n%s", err, out, &ours)
	}
	parsed, err := ParseSums(ours.Bytes())
	if err != nil || !reflect.DeepEqual(parsed, sums) {
		t.Errorf("%v\n%+v", err, parsed)
	}
	// And theirs is read by us, in both of its modes.
	for _, mode := range []string{"--binary", "--text"} {
		args := []string{mode, "--"}
		for _, sum := range sums {
			args = append(args, sum.Name)
		}
		make := exec.CommandContext(t.Context(), "sha256sum", args...)
		make.Dir = dir
		out, err := make.Output()
		if err != nil {
			t.Fatal(err)
		}
		if parsed, err := ParseSums(out); err != nil || !reflect.DeepEqual(parsed, sums) {
			t.Errorf("%s: %v\n%+v\n%s", mode, err, parsed, out)
		}
	}
}

func TestSumsRefuse(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("0a", 32) + "  name\n"
	if sums, err := ParseSums([]byte(good)); err != nil || len(sums) != 1 {
		t.Fatal(sums, err)
	}
	for _, bad := range []string{
		"\n", "x", good[1:], "0" + good, strings.Replace(good, "  ", " ", 1), strings.Replace(good, "0a", "0g", 1), good + good,
		good[:len(good)-1], strings.Replace(good, "name", "", 1), strings.Replace(good, "name", "..", 1),
		strings.Replace(good, "name", "a/b", 1), strings.Replace(good, "name", "a\x00b", 1), "\\" + strings.Replace(good, "name", `/`, 1),
	} {
		if sums, err := ParseSums([]byte(bad)); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("%q gives %v, %v", bad, sums, err)
		}
	}
	for _, bad := range [][]Sum{{{Name: ""}}, {{Name: "a/b"}}, {{Name: ".."}}, {{Name: "-"}}, {{Name: "a"}, {Name: "a"}}} {
		var out bytes.Buffer
		if err := WriteSums(&out, bad); err == nil || out.Len() > 0 {
			t.Errorf("%v was written", bad)
		}
	}
}

// memoryFile is a capstan.VolumeReader on bytes, which fails from a place on.
type memoryFile struct {
	*bytes.Reader
	size   int64
	failAt int64
	err    error
}

func (f *memoryFile) Size() int64  { return f.size }
func (f *memoryFile) Close() error { return nil }

func (f *memoryFile) ReadAt(p []byte, offset int64) (int, error) {
	if f.err != nil && offset+int64(len(p)) > f.failAt {
		n, _ := f.Reader.ReadAt(p[:max(f.failAt-offset, 0)], offset)
		return n, f.err
	}
	return f.Reader.ReadAt(p, offset)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 150_000) // more than one piece
	sum := sha256.Sum256(content)
	whole := func() *memoryFile { return &memoryFile{Reader: bytes.NewReader(content), size: int64(len(content))} }
	files := map[string]*memoryFile{
		"whole": whole(), "cut": {Reader: bytes.NewReader(content[:9]), size: 9},
		"shrunk": {Reader: bytes.NewReader(content[:2_000_000]), size: int64(len(content))},
		"broken": whole(), "empty": {Reader: bytes.NewReader(nil)},
	}
	files["broken"].failAt, files["broken"].err = 1_500_000, syscall.EIO
	open := func(_ context.Context, name string) (capstan.VolumeReader, error) {
		if file, ok := files[name]; ok {
			return file, nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	sums := []Sum{
		{"whole", sum},
		{"cut", sum},
		{"shrunk", sum},
		{"broken", sum},
		{"missing", sum},
		{"empty", sha256.Sum256(nil)},
		{"whole", sha256.Sum256([]byte("other"))},
	}
	read := 0
	findings, err := Check(t.Context(), sums, open, func(n int) { read += n })
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name  string
		state capstan.CopyState
		class error
	}{
		{"cut", capstan.CopyDamaged, capstan.ErrDamaged},
		{"shrunk", capstan.CopyDamaged, capstan.ErrDamaged},
		{"broken", capstan.CopyDamaged, syscall.EIO},
		{"missing", capstan.CopyMissing, fs.ErrNotExist},
		{"whole", capstan.CopyDamaged, capstan.ErrDamaged},
	}
	if len(findings) != len(want) {
		t.Fatalf("%+v", findings)
	}
	for i, w := range want {
		if f := findings[i]; f.Name != w.name || f.State != w.state || !errors.Is(f.Err, w.class) {
			t.Errorf("%+v, want %+v", f, w)
		}
	}
	if read < 2*len(content)+9+2_000_000 {
		t.Errorf("told of %d bytes", read)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	findings, err = Check(ctx, sums, open, func(int) { cancel(why) })
	if !errors.Is(err, why) || len(findings) != 0 {
		t.Errorf("cancelled: %v, %v", findings, err)
	}
}

func TestDeleted(t *testing.T) {
	t.Parallel()
	paths := []string{"a", "a b", "-rf", "new\nline", "\xff", strings.Repeat("long/", 30_000) + "x"}
	var list bytes.Buffer
	w := NewDeletedWriter(&list)
	for _, path := range paths {
		if err := w.Add(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || list.String() != strings.Join(paths, "\x00")+"\x00" {
		t.Errorf("%v, %q", err, list.String()[:50])
	}
	var got []string
	for path, err := range ReadDeleted(bytes.NewReader(list.Bytes())) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, path)
	}
	if !reflect.DeepEqual(got, paths) {
		t.Errorf("%.200q", got)
	}
	for path, err := range ReadDeleted(strings.NewReader("")) {
		t.Errorf("an empty list yields %q, %v", path, err)
	}
	for _, bad := range []string{"a", "a\x00b", "/a\x00", "\x00", "a\x00..\x00", "a//b\x00"} {
		var last error
		for _, err := range ReadDeleted(strings.NewReader(bad)) {
			last = err
		}
		if !errors.Is(last, capstan.ErrDamaged) {
			t.Errorf("%q: %v", bad, last)
		}
		w := NewDeletedWriter(io.Discard)
		if path := strings.TrimSuffix(bad[strings.Index(bad[:len(bad)-1], "\x00")+1:], "\x00"); bad != "a" && bad != "a\x00b" && (w.Add(path) == nil || w.Add("ok") == nil || w.Close() == nil) {
			t.Errorf("%q was written", path)
		}
	}
	broken := errors.New("broken")
	var last error
	for _, err := range ReadDeleted(io.MultiReader(strings.NewReader("a\x00b"), &failingReader{broken})) {
		last = err
	}
	if !errors.Is(last, broken) || errors.Is(last, capstan.ErrDamaged) {
		t.Errorf("a broken medium: %v", last)
	}
	w = NewDeletedWriter(&limitedWriter{left: 1, err: broken})
	if err := errors.Join(w.Add("path"), w.Close()); !errors.Is(err, broken) {
		t.Errorf("a full medium: %v", err)
	}
}

// write makes a file with exactly this mode (the lower 12 bits) and time.
func write(t *testing.T, path, content string, mode fs.FileMode, at time.Time) {
	t.Helper()
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600),
		os.Chmod(path, mode.Perm()), os.Chtimes(path, at, at),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if mode&0o4000 != 0 {
		if err := syscall.Chmod(path, uint32(mode)); err != nil {
			t.Fatal(err)
		}
	}
}
