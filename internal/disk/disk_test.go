package disk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"capstan"
)

// failAt fails the n-th operation (from 0), and with stay all after it.
func failAt(n int, err error, stay bool) (FS, *int) {
	count := new(int)
	return FS{Faults: FaultFunc(func(Op, string, int) error {
		at := *count
		*count++
		if at == n || stay && at > n {
			return err
		}
		return nil
	})}, count
}

func TestCreateWriteReadBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	var disk FS
	file, err := disk.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"one ", "two"} {
		if n, err := file.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := errors.Join(file.Sync(), file.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	if file.Size() != 7 || file.Path() != path {
		t.Errorf("size %d path %s", file.Size(), file.Path())
	}
	if _, err := disk.Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating over a file: %v", err)
	}
	reader, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(reader, 0, reader.Size()))
	if err := errors.Join(err, reader.Close()); err != nil || string(got) != "one two" {
		t.Errorf("read %q, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestCreateDoesNotFollowLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := (FS{}).Create(link); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating over a dangling symlink: %v", err)
	}
}

func TestShortWriteStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	writes := 0
	disk := FS{Faults: FaultFunc(func(op Op, _ string, n int) error {
		if op != OpWrite {
			return nil
		}
		if writes++; writes == 2 {
			return &ShortWrite{N: 2, Err: syscall.ENOSPC}
		}
		return nil
	})}
	file, err := disk.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	if n, err := file.Write([]byte("def")); n != 2 || !errors.Is(err, capstan.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("short write: %d, %v", n, err)
	}
	if n, err := file.Write([]byte("ghi")); n != 0 || !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("write after a failure: %d, %v", n, err)
	}
	if err := file.Sync(); !errors.Is(err, capstan.ErrNoSpace) {
		t.Errorf("sync after a failure: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); string(got) != "abcde" || err != nil {
		t.Errorf("on disk %q, %v", got, err)
	}
}

func TestErrorsAreClassed(t *testing.T) {
	t.Parallel()
	for errno, full := range map[syscall.Errno]bool{syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EIO: false} {
		disk, _ := failAt(0, errno, false)
		err := disk.Mkdir(filepath.Join(t.TempDir(), "x"))
		if !errors.Is(err, errno) || errors.Is(err, capstan.ErrNoSpace) != full {
			t.Errorf("%v gives %v", errno, err)
		}
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	for name, rename := range map[string]func(from, to string) error{
		"RenameNew": FS{}.RenameNew, "renameLooking": renameLooking,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
			write(t, a, "A")
			write(t, b, "B")
			if err := rename(a, b); !errors.Is(err, fs.ErrExist) {
				t.Errorf("taken name: %v", err)
			}
			if read(t, a) != "A" || read(t, b) != "B" {
				t.Error("a refused rename changed a file")
			}
			if err := rename(a, c); err != nil || read(t, c) != "A" {
				t.Errorf("free name: %v", err)
			}
			if err := rename(a, c+"x"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("no such file: %v", err)
			}
			d, e := filepath.Join(dir, "d"), filepath.Join(dir, "e")
			if err := errors.Join(os.Mkdir(d, 0o700), os.Mkdir(e, 0o700)); err != nil {
				t.Fatal(err)
			}
			if err := rename(d, e); !errors.Is(err, fs.ErrExist) {
				t.Errorf("directory over an empty directory: %v", err)
			}
			if err := rename(d, filepath.Join(dir, "f")); err != nil {
				t.Errorf("directory to a free name: %v", err)
			}
		})
	}
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "A")
	write(t, b, "B")
	if err := (FS{}).Rename(a, b); err != nil || read(t, b) != "A" {
		t.Errorf("replacing: %v", err)
	}
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var synced []string
	disk := FS{Faults: FaultFunc(func(op Op, path string, _ int) error {
		if op == OpSyncDir {
			synced = append(synced, strings.TrimPrefix(path, dir))
		}
		return nil
	})}
	if err := disk.MkdirAll(filepath.Join(dir, "a/b/c") + "/"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(synced, " "); got != " /a /a/b" {
		t.Errorf("synced %q: every parent of a new directory must be", got)
	}
	if err := disk.MkdirAll(filepath.Join(dir, "a/b")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a/b/c")); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info, err)
	}
	write(t, filepath.Join(dir, "file"), "")
	if err := disk.MkdirAll(filepath.Join(dir, "file")); err == nil {
		t.Error("a file passed for a directory")
	}
	if err := disk.MkdirAll(filepath.Join(dir, "file", "x")); err == nil {
		t.Error("a directory was made below a file")
	}
}

// Every operation fails once, then for good: the old content or the new is
// there, never a piece, and success is never claimed.
func TestWholeFilesUnderFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{syscall.EIO, &ShortWrite{N: 1, Err: syscall.ENOSPC}} {
		for _, stay := range []bool{false, true} {
			for n := 0; ; n++ {
				path := filepath.Join(t.TempDir(), "file")
				disk, count := failAt(n, fault, stay)
				newErr := disk.WriteNew(path, []byte("first"))
				if content, err := os.ReadFile(path); err == nil && string(content) != "first" {
					t.Fatalf("fault %d: half a file: %q", n, content)
				} else if err != nil && newErr == nil {
					t.Fatalf("fault %d: success without a file", n)
				}
				if *count <= n {
					break
				}
				if newErr == nil {
					t.Fatalf("fault %d was swallowed", n)
				}
			}
			for n := 0; ; n++ {
				path := filepath.Join(t.TempDir(), "file")
				write(t, path, "old")
				disk, count := failAt(n, fault, stay)
				err := disk.Replace(path, []byte("first"))
				if got := read(t, path); got != "old" && got != "first" || err == nil && got != "first" {
					t.Fatalf("fault %d: %q, %v", n, got, err)
				}
				if *count <= n {
					break
				}
				if err == nil {
					t.Fatalf("fault %d was swallowed", n)
				}
			}
		}
	}
}

func TestWriteNewKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, "old")
	if err := (FS{}).WriteNew(path, []byte("new")); !errors.Is(err, fs.ErrExist) || read(t, path) != "old" {
		t.Error(err, read(t, path))
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestReadFileIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "12345")
	if got, err := (FS{}).ReadFile(path, 5); string(got) != "12345" || err != nil {
		t.Error(string(got), err)
	}
	if got, err := (FS{}).ReadFile(path, 4); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Error(got, err)
	}
	if _, err := (FS{}).ReadFile(filepath.Dir(path), 4); err == nil {
		t.Error("a directory was read")
	}
}

func TestSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	space, err := FS{}.Space(dir)
	if err != nil || space.Total <= 0 || space.Free <= 0 || space.Free > space.Total {
		t.Errorf("%+v, %v", space, err)
	}
	if _, err := (FS{}).Free(filepath.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if same, err := (FS{}).SameFilesystem(dir, filepath.Dir(dir)); !same || err != nil {
		t.Error(same, err)
	}
	if _, err := (FS{}).SameFilesystem(dir, filepath.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A file of several windows arrives whole, with write-out behind it.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "large")
	file, err := FS{}.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	file.DropBehind()
	const chunk, chunks = 5<<20 + 1, 45
	for i := range chunks {
		if _, err := file.Write(bytes.Repeat([]byte{byte(i)}, chunk)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
	reader, err := FS{}.Open(path)
	if err != nil || reader.Size() != chunk*chunks {
		t.Fatal(reader, err)
	}
	defer reader.Close()
	buf := make([]byte, chunk)
	for i := range chunks {
		if _, err := reader.ReadAt(buf, int64(i)*chunk); err != nil || bytes.Count(buf, []byte{byte(i)}) != chunk {
			t.Fatalf("chunk %d: %v", i, err)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
