package catalog

import (
	"errors"
	"path/filepath"
	"testing"

	"capstan"
)

// TestReadOnlyByFault: SQLite opens a file for reading only where the system did not
// let it be opened otherwise, and says of neither a fault nor a missing right. A
// catalog that can be written is not called one that must be made writable.
func TestReadOnlyByFault(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := openReads(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, readOnly := db.ExecContext(t.Context(), "CREATE TABLE t (a INTEGER)")
	if primary, _ := code(readOnly); primary != 8 {
		t.Fatalf("not SQLITE_READONLY: %v", readOnly)
	}
	if told := c.explain("write", readOnly); errors.Is(told, capstan.ErrRefused) {
		t.Errorf("of a file that can be written: %v", told)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".writable-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	c.path = filepath.Join(t.TempDir(), "none", "catalog.db")
	if told := c.explain("write", readOnly); !errors.Is(told, capstan.ErrRefused) {
		t.Errorf("of a file that cannot be written: %v", told)
	}
}
