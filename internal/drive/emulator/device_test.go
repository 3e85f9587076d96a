package emulator_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"capstan"
	"capstan/internal/drive"
	"capstan/internal/drive/drivetest"
	"capstan/internal/drive/emulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	drivetest.Run(t, func(t *testing.T) *drivetest.Rig {
		return inProcess(emulator.NewDrive(), func(_ *testing.T, capacity, warning capstan.Bytes) *emulator.Cartridge {
			return emulator.Blank(capacity, warning)
		})
	})
}

func TestFiles(t *testing.T) {
	t.Parallel()
	drivetest.Run(t, func(t *testing.T) *drivetest.Rig {
		dir, made := t.TempDir(), 0
		return inProcess(emulator.NewDrive(), func(t *testing.T, capacity, warning capstan.Bytes) *emulator.Cartridge {
			made++
			c, err := emulator.Create(filepath.Join(dir, string(rune('a'+made))+".tap"), capacity, warning)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			return c
		})
	})
}

func inProcess(core *emulator.Drive, blank func(t *testing.T, capacity, warning capstan.Bytes) *emulator.Cartridge) *drivetest.Rig {
	return &drivetest.Rig{Core: core, Blank: blank, Open: func() (drive.Device, error) {
		device, err := core.Device()
		if err != nil {
			return nil, err
		}
		return device, nil
	}}
}
