package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"capstan"
)

func TestResume(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		op    Op
		fault error
		goes  bool
	}{
		{"a full disk", OpWrite, syscall.ENOSPC, true},
		{"a full disk in the middle of a write", OpWrite, &ShortWrite{N: 3, Err: syscall.ENOSPC}, true},
		{"a broken disk", OpWrite, syscall.EIO, false},
		{"a full disk at the sync, when bytes were taken already", OpSync, syscall.ENOSPC, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			full := false
			disk := FS{Faults: FaultFunc(func(op Op, _ string, _ int) error {
				if full && op == test.op {
					return test.fault
				}
				return nil
			})}
			path := filepath.Join(t.TempDir(), "file")
			file, err := disk.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := io.WriteString(file, "begun, "); err != nil {
				t.Fatal(err)
			}
			if err := file.Resume(); err != nil {
				t.Errorf("without a failure: %v", err)
			}
			const rest = "and ended"
			full = true
			n := 0
			if test.op == OpSync {
				err = file.Sync()
			} else {
				n, err = io.WriteString(file, rest)
			}
			full = false
			if err == nil || errors.Is(err, capstan.ErrNoSpace) != errors.Is(test.fault, syscall.ENOSPC) {
				t.Fatalf("the fault gives %v", err)
			}
			if again := file.Resume(); (again == nil) != test.goes {
				t.Fatalf("resume: %v", again)
			}
			if !test.goes {
				if _, err := io.WriteString(file, rest); err == nil {
					t.Error("a write after a failure that cannot be resumed passed")
				}
				return
			}
			if _, err := io.WriteString(file, rest[n:]); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if string(got) != "begun, "+rest || file.Size() != int64(len(got)) || err != nil {
				t.Errorf("%q, size %d, %v", got, file.Size(), err)
			}
		})
	}
}
