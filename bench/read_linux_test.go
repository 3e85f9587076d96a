package main

import (
	"os"
	"path/filepath"
	"testing"

	"capstan"
)

// TestPipelineCountsReading compares with a child that reads a file of known size.
func TestPipelineCountsReading(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, capstan.MiB), 0o600); err != nil {
		t.Fatal(err)
	}
	used, err := single(command{args: []string{"cat", name}}).run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if used.read < capstan.MiB || used.read > capstan.MiB+capstan.MiB/4 {
		t.Errorf("read %v of a file of 1 MiB", used.read)
	}
}
