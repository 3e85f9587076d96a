//go:build capstanvm

// What runs inside the virtual machine: the suite on the kernel's own tape driver.

package st_test

import (
	"fmt"
	"os"
	"testing"

	"capstan"
	"capstan/internal/capstantest/vm"
	"capstan/internal/drive"
	"capstan/internal/drive/drivetest"
	"capstan/internal/drive/emulator"
	"capstan/internal/drive/st"
	"capstan/internal/drive/tcmu"
)

func TestMain(m *testing.M) { vm.Guest(m) }

func TestTape(t *testing.T) {
	core := emulator.NewDrive()
	attach(t, 0, &tcmu.Tape{Core: core, Serial: "EMU0001"})
	drivetest.Run(t, func(*testing.T) *drivetest.Rig {
		core.Remove()
		core.LimitBlocks(0)
		return &drivetest.Rig{
			Core: core,
			Open: func() (drive.Device, error) {
				device, err := st.Open("/dev/nst0")
				if err != nil {
					return nil, err
				}
				return device, nil
			},
			Blank: func(_ *testing.T, capacity, warning capstan.Bytes) *emulator.Cartridge {
				return emulator.Blank(capacity, warning)
			},
		}
	})
}

// attach makes a SCSI device of a target, for the rest of the machine's life.
func attach(t *testing.T, number int, target tcmu.Target) {
	t.Helper()
	if err := tcmu.Attach(number, target, func(err error) {
		fmt.Fprintln(os.Stderr, "the SCSI target has ended:", err)
	}); err != nil {
		t.Fatal(err)
	}
}
