package catalog_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"capstan"
	"capstan/internal/catalog"
)

// raw runs SQL on a file past the catalog.
func raw(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	must(t, db.Close())
}

func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "odd name? #%41.db")
	c, err := catalog.Open(t.Context(), path, catalog.Options{})
	must(t, err)
	must(t, c.Close())
	return path
}

func TestOpenMakesPrivateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "catalog.db")
	c := openAt(t, path, catalog.Options{})
	begin(t, c)
	if c.Path() != path {
		t.Errorf("path %s", c.Path())
	}
	for _, name := range []string{path, path + "-wal", path + "-shm", filepath.Dir(path), filepath.Join(filepath.Dir(path), "locks")} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestOpenAgain(t *testing.T) {
	t.Parallel()
	path := made(t)
	c := openAt(t, path, catalog.Options{})
	set := begin(t, c)
	second := openAt(t, path, catalog.Options{})
	if got, err := second.Set(t.Context(), set.ID); err != nil || got.ID != set.ID {
		t.Errorf("what one wrote the other reads: %+v %v", got, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.schema-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("a copy was made without a migration: %q %v", left, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		class   error
		says    string
	}{
		{"newer schema", func(t *testing.T, path string) {
			raw(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
		}, capstan.ErrRefused, "newer"},
		{"foreign database", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			raw(t, path, "CREATE TABLE something (a)")
		}, capstan.ErrRefused, "something else"},
		{"no database", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(strings.Repeat("no database at all\n", 500)), 0o600))
		}, capstan.ErrDamaged, "rebuild"},
		{"garbled page", func(t *testing.T, path string) { garble(t, path, 4096*2, 4096*4) }, capstan.ErrDamaged, "rebuild"},
		{"cut file", func(t *testing.T, path string) {
			info, err := os.Stat(path)
			must(t, err)
			must(t, os.Truncate(path, info.Size()/4096/2*4096))
		}, capstan.ErrDamaged, "rebuild"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := made(t)
			plain := filepath.Join(filepath.Dir(path), "catalog.db")
			must(t, os.Rename(path, plain))
			test.prepare(t, plain)
			before, err := os.ReadFile(plain)
			must(t, err)
			c, err := catalog.Open(t.Context(), plain, catalog.Options{})
			if err == nil {
				c.Close()
			}
			if !errors.Is(err, test.class) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), plain) {
				t.Errorf("open: %v", err)
			}
			after, err := os.ReadFile(plain)
			must(t, err)
			if string(before) != string(after) {
				t.Error("the file was changed")
			}
		})
	}
}

func garble(t *testing.T, path string, from, to int) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	noise := make([]byte, to-from)
	for i := range noise {
		noise[i] = byte(i * 7)
	}
	_, err = file.WriteAt(noise, int64(from))
	must(t, err)
	must(t, file.Close())
}

// TestDamageWhileOpen garbles pages of entries, which the quick look of a big
// catalog would not see, and reads them.
func TestDamageWhileOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := catalog.Open(t.Context(), path, catalog.Options{})
	must(t, err)
	set := begin(t, c)
	plan(t, c, set.ID)
	for n := range capstan.ArchiveNumber(40) {
		entries := filledArchive(n)
		for i := range entries {
			entries[i].Archive = 1
		}
		add(t, c, set.ID, entries...)
	}
	commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
	must(t, c.Close()) // takes the log into the file
	c, err = catalog.Open(t.Context(), path, catalog.Options{})
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	garble(t, path, int(info.Size()/2/4096*4096), int(info.Size()/4*3/4096*4096))
	var walked error
	for _, err := range c.Walk(t.Context(), set.ID, "") {
		walked = errors.Join(walked, err)
	}
	if !errors.Is(walked, capstan.ErrDamaged) || !strings.Contains(walked.Error(), path) || !strings.Contains(walked.Error(), "rebuild") {
		t.Errorf("walking a damaged catalog: %v", walked)
	}
	if problems, err := c.Check(t.Context()); err == nil && len(problems) == 0 {
		t.Error("the check finds a damaged catalog sound")
	}
	must(t, c.Close())
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	path := made(t)
	c := openAt(t, path, catalog.Options{ReadOnly: true})
	if _, err := c.Sets(t.Context(), catalog.SetFilter{}); err != nil {
		t.Error(err)
	}
	w := c.NewEntryWriter(t.Context(), "2026-11_000001")
	for name, err := range map[string]error{
		"job": c.EnsureJob(t.Context(), job, "", nil, nil), "audit": c.Audit(t.Context(), "a", "b", "c"),
		"entries": w.Add(t.Context(), []capstan.Entry{file("a", 1)}), "close": w.Close(),
		"delete": c.DeleteSet(t.Context(), "2026-11_000001"),
	} {
		if !errors.Is(err, capstan.ErrRefused) {
			t.Errorf("%s on a catalog opened for reading: %v", name, err)
		}
	}
	if _, err := catalog.Open(t.Context(), path+"-none", catalog.Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a catalog that is not there: %v", err)
	}
	if _, err := os.Stat(path + "-none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("it was created")
	}
}

func TestCopyTo(t *testing.T) {
	t.Parallel()
	c := openSQLite(t)
	set := begin(t, c)
	plan(t, c, set.ID)
	add(t, c, set.ID, randomTree(rand.New(rand.NewPCG(5, 5)), 300, 1)...)
	commit(t, c, capstan.Archive{Set: set.ID, Number: 1})
	must(t, c.SetSums(t.Context(), set.ID, volume, capstan.Hash{1}))
	must(t, c.Audit(t.Context(), "a", "b", "c"))
	want := paths(walk(t, c, set.ID, ""))
	for _, entries := range []bool{true, false} {
		dir := t.TempDir()
		path := filepath.Join(dir, "copy.sqlite")
		for range 2 { // the second replaces the first
			must(t, c.CopyTo(t.Context(), path, entries))
		}
		files, err := os.ReadDir(dir)
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		if len(files) != 1 || info.Mode().Perm() != 0o600 {
			t.Errorf("%d files, mode %v; want one file for its owner", len(files), info.Mode())
		}
		header, err := os.ReadFile(path)
		must(t, err)
		if header[18] != 1 { // the format version that says: no write-ahead log
			t.Error("the copy needs a log beside it")
		}
		must(t, os.Chmod(path, 0o400))
		copied := openAt(t, path, catalog.Options{ReadOnly: true})
		sets, err := copied.Sets(t.Context(), catalog.SetFilter{})
		if err != nil || len(sets) != 1 || sets[0].Archives != 1 || len(sets[0].Copies) != 1 {
			t.Errorf("sets of the copy %+v %v", sets, err)
		}
		got := paths(walk(t, copied, set.ID, ""))
		if entries && len(got) != len(want) || !entries && len(got) != 0 {
			t.Errorf("the copy has %d entries", len(got))
		}
	}
	if err := c.CopyTo(t.Context(), filepath.Join(t.TempDir(), "no", "dir"), false); err == nil {
		t.Error("a copy into nowhere")
	}
}
