package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"capstan/internal/capstantest"
)

// TestRestoreInBatches restores more entries than a batch holds, some of them further
// names of files in directories that were complete batches before, and that even
// their owner may not search or not write: each directory gets its mode and times when
// all below it is there, and every link is made. Root, which may do all that anyway,
// does it once more without that right; another user could not back such directories up.
func TestRestoreInBatches(t *testing.T) {
	t.Parallel()
	f := newField(t)
	modes := map[string]os.FileMode{"a closed": 0o600, "a closed/inner": 0o200, "b fixed": 0o500, "c open": 0o755}
	bound := []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"}
	if os.Geteuid() != 0 {
		modes["a closed"], modes["a closed/inner"], bound = 0o500, 0o500, nil
	}
	stamp := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	for dir := range modes {
		if err := os.MkdirAll(filepath.Join(f.data, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for dir := range modes {
		for i := range 600 {
			name := filepath.Join(f.data, dir, fmt.Sprintf("file-%03d", i))
			if err := os.WriteFile(name, []byte(name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, dir := range []string{"a closed", "a closed/inner", "b fixed"} {
		name := filepath.Join(f.data, "c open", "z link to "+filepath.Base(dir))
		if err := os.Link(filepath.Join(f.data, dir, "file-007"), name); err != nil {
			t.Fatal(err)
		}
	}
	for dir, mode := range modes {
		name := filepath.Join(f.data, dir)
		if err := os.Chtimes(name, stamp, stamp); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Chmod(name, 0o755) }() // else only root could remove it
		if dir == "a closed" {
			continue // the last: what is in it must be reached before
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(f.data, "a closed"), modes["a closed"]); err != nil {
		t.Fatal(err)
	}
	f.run("backup", f.data, "--to", f.vol)
	for name, with := range map[string][]string{"back": nil, "bound": bound} {
		back := filepath.Join(f.dir, name)
		cmd := f.command(t.Context(), "restore", "latest", "--to", back)
		if with != nil {
			program, err := exec.LookPath(with[0])
			if err != nil {
				t.Fatal(err)
			}
			cmd.Args = append(append(with, cmd.Path), cmd.Args[1:]...)
			cmd.Path = program
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("restore to %s: %v\n%s", name, err, out)
		}
		capstantest.CompareTrees(t, f.data, filepath.Join(back, "data"))
		for dir := range modes {
			defer func() { _ = os.Chmod(filepath.Join(back, "data", dir), 0o755) }()
		}
	}
}
