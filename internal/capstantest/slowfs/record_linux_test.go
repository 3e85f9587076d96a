package slowfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/powerloss"
	"capstan/internal/capstantest/slowfs"
)

// TestRecord does one of each to a recorded mount: with nothing lost, its log makes
// the very tree that lies below; with all lost, what was synced.
func TestRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := slowfs.Record(t, filepath.Join(dir, "below"), filepath.Join(dir, "mount"), filepath.Join(dir, "log"))
	at := func(path string) string { return filepath.Join(m.Dir, path) }
	sync := func(path string) error {
		file, err := os.Open(at(path))
		if err != nil {
			return err
		}
		return errors.Join(file.Sync(), file.Close())
	}
	for i, err := range []error{
		os.Mkdir(at("dir"), 0o700), os.Mkdir(at("other"), 0o755),
		os.WriteFile(at("dir/kept"), []byte("durable"), 0o640),
		sync("dir/kept"), sync("dir"), sync(""),
		appendTo(at("dir/kept"), " and not"),
		os.WriteFile(at("dir/short"), make([]byte, 3<<20), 0o600), os.Truncate(at("dir/short"), 10_000),
		os.WriteFile(at("dir/again"), []byte("first"), 0o600), os.WriteFile(at("dir/again"), []byte("2"), 0o600), // O_TRUNC
		os.WriteFile(at("from"), []byte("moved"), 0o600), os.Rename(at("from"), at("other/to")),
		os.WriteFile(at("a"), []byte("a"), 0o600), os.WriteFile(at("b"), []byte("b"), 0o600),
		unix.Renameat2(unix.AT_FDCWD, at("a"), unix.AT_FDCWD, at("b"), unix.RENAME_EXCHANGE),
		os.Link(at("b"), at("other/linked")), os.Chmod(at("b"), 0o400),
		os.Rename(at("a"), at("dir/again")), // replaces
		os.WriteFile(at("gone"), nil, 0o600), os.Remove(at("gone")), os.WriteFile(at("gone"), []byte("back"), 0o600),
		os.Mkdir(at("empty"), 0o700), os.Remove(at("empty")),
		deletedAndWritten(at("secret")), mapped(at("mapped")), reserved(at("reserved")),
		os.Mkdir(at("was"), 0o700), os.WriteFile(at("was/in"), []byte("in"), 0o600), os.Rename(at("was"), at("dir/is")),
	} {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	m.End()
	file, err := os.Open(m.Log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	log, err := powerloss.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	place(t, log, powerloss.Fate{Data: powerloss.All, Names: powerloss.All}, filepath.Join(dir, "all"))
	capstantest.CompareTrees(t, m.Below, filepath.Join(dir, "all"),
		capstantest.IgnoreTimes(), capstantest.IgnoreHoles(), capstantest.IgnoreRoot(), capstantest.IgnoreXattrs())
	place(t, log, powerloss.Fate{Data: powerloss.None, Names: powerloss.None}, filepath.Join(dir, "least"))
	if data, err := os.ReadFile(filepath.Join(dir, "least", "dir", "kept")); err != nil || string(data) != "durable" {
		t.Errorf("what was synced is %q, %v", data, err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "least", "dir")); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v outlast, and only one was synced", entries, err)
	}
}

func place(t *testing.T, log *powerloss.Log, fate powerloss.Fate, dir string) {
	t.Helper()
	image, err := log.Cut(log.Len(), fate)
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	if err == nil {
		err = image.Write(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// appendTo opens a file for appending alone.
func appendTo(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// deletedAndWritten writes a file that has no name any more, and makes another of
// that name.
func deletedAndWritten(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if err == nil {
		_, err = file.WriteString("of the first")
	}
	if err == nil {
		err = os.WriteFile(path, []byte("of the second"), 0o600)
	}
	_, late := file.WriteString(", late")
	return errors.Join(err, late, file.Close())
}

// mapped writes through a mapping, as SQLite does to the index of its log.
func mapped(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = file.Truncate(8192)
	if err == nil {
		var data []byte
		data, err = unix.Mmap(int(file.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err == nil {
			copy(data[5000:], "mapped")
			err = unix.Munmap(data)
		}
	}
	return errors.Join(err, file.Sync(), file.Close())
}

func reserved(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fallocate(int(file.Fd()), 0, 0, 5000), file.Close())
}

// TestRecordKnowsItsLimits: what the model of a power loss does not know is told.
func TestRecordKnowsItsLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := slowfs.Record(t, filepath.Join(dir, "below"), filepath.Join(dir, "mount"), filepath.Join(dir, "log"))
	if err := os.Symlink("x", filepath.Join(m.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	m.End()
	file, err := os.Open(m.Log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	log, err := powerloss.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Cut(log.Len(), powerloss.Fate{}); err == nil {
		t.Error("a symbolic link was recorded as nothing")
	}
}
