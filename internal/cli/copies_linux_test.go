package cli_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCopiesOfKilledRuns leaves copies of the catalog in the home, as runs do that
// are killed while they finish a set: an old one goes with the next backup, one
// that may be in use and what is somebody else's stay.
func TestCopiesOfKilledRuns(t *testing.T) {
	t.Parallel()
	f := newField(t)
	garden(t, f.data, 3)
	home := filepath.Join(f.dir, "home")
	at := func(name string) string { return filepath.Join(home, name) }
	long := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{".capstan-copy-1", "copy-2"} {
		if err := os.MkdirAll(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at(name), "catalog.sqlite.part"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(at(name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at(".capstan-copy-3"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.run("backup", f.data, "--to", f.vol)
	for name, want := range map[string]bool{".capstan-copy-1": false, "copy-2": true, ".capstan-copy-3": true} {
		if got := exists(at(name)); got != want {
			t.Errorf("%s is there: %t, want %t", name, got, want)
		}
	}
}
