package slowfs_test

import (
	"os"
	"testing"

	"capstan/internal/capstantest/slowfs"
)

// TestMain lets the test binary be the server of a mount, or the writer of
// TestWaiting.
func TestMain(m *testing.M) {
	if slowfs.Served() {
		return
	}
	if path := os.Getenv(writerVariable); path != "" {
		os.Exit(writer(path))
	}
	os.Exit(m.Run())
}
