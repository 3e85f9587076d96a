package dir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"capstan"
	"capstan/internal/disk"
)

// replaceable is a volume with one finished file, claimed by a run of the home.
func replaceable(t *testing.T, content string) (path string) {
	t.Helper()
	path = t.TempDir()
	v, err := Open(path, Options{Create: true, Catalog: "home"})
	if err == nil {
		err = v.ClaimSet(t.Context(), testSet, "home"+capstan.ClaimMark+"word")
	}
	var file capstan.VolumeFile
	if err == nil {
		file, err = v.Create(t.Context(), testSet, testName)
	}
	if err == nil {
		_, err = io.WriteString(file, content)
	}
	if err == nil {
		err = file.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// replace puts other content in the place of the file.
func replace(t *testing.T, path, home, name, content string, faults disk.Faults) error {
	t.Helper()
	v, err := Open(path, Options{Catalog: home, FS: disk.FS{Faults: faults}})
	if err != nil {
		return err
	}
	file, err := v.Replace(t.Context(), testSet, name)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(file, content); err != nil {
		return errors.Join(err, file.Abort())
	}
	return file.Commit(t.Context())
}

func TestReplace(t *testing.T) {
	t.Parallel()
	path := replaceable(t, "old")
	if err := replace(t, path, "home", testName, "new", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(path, string(testSet), testName)); string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if err := replace(t, path, "another", testName, "theirs", nil); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("another home replaced it: %v", err)
	}
	if err := replace(t, path, "home", "nobody"+testName, "x", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there was replaced: %v", err)
	}
}

// Every operation fails, once or from then on: the old file or the new one is there,
// whole; and the new one if that was confirmed.
func TestReplaceFaultSweep(t *testing.T) {
	t.Parallel()
	before, after := strings.Repeat("old", 1000), strings.Repeat("newer", 1000)
	for _, stay := range []bool{false, true} {
		for n := 0; ; n++ {
			path := replaceable(t, before)
			count := 0
			err := replace(t, path, "home", testName, after, disk.FaultFunc(func(disk.Op, string, int) error {
				count++
				if count == n+1 || stay && count > n {
					return syscall.EIO
				}
				return nil
			}))
			got, readErr := os.ReadFile(filepath.Join(path, string(testSet), testName))
			if readErr != nil || string(got) != before && string(got) != after || err == nil && string(got) != after {
				t.Fatalf("fault %d, stay %t: %d bytes are there, %v; replace said %v", n, stay, len(got), readErr, err)
			}
			if count <= n {
				break // all operations had their turn
			}
		}
	}
}
