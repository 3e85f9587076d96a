//go:build linux && amd64

package st_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan/internal/capstantest/vm"
)

// modules are the drivers under test and what hands commands over to the emulator.
var modules = strings.Fields("configfs uio scsi_common scsi_mod target_core_mod target_core_user tcm_loop sg st")

// TestKernelDriver runs the tests of driver_vm_test.go in a virtual machine, where
// /dev/nst0 is the kernel's tape driver.
func TestKernelDriver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 16*time.Minute, errors.New("the virtual machine took too long"))
	defer cancel()
	dir := t.TempDir()
	program := filepath.Join(dir, "st.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-tags", "capstanvm", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	begun := time.Now()
	console, err := vm.Run(ctx, dir, vm.Machine{
		Program: program, Args: []string{"-test.v", "-test.timeout=0", "-test.run=^(TestTape|TestChanger|TestKilled)$"}, Modules: modules, Memory: 512,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, console)
	}
	t.Logf("%d tests in a virtual machine took %v", strings.Count(console, "--- PASS:"), time.Since(begun).Round(100*time.Millisecond))
	for _, name := range []string{"TestTape", "TestChanger", "TestKilled"} {
		if strings.Contains(console, "--- SKIP:") || !strings.Contains(console, "--- PASS: "+name+" ") {
			t.Errorf("%s did not run whole:\n%s", name, console)
		}
	}
}
