package emulator_test

import (
	"testing"

	"capstan/internal/drive"
	"capstan/internal/drive/drivetest"
	"capstan/internal/drive/emulator"
)

func TestLibrary(t *testing.T) {
	t.Parallel()
	rig := &drivetest.ChangerRig{Cores: []*emulator.Drive{emulator.NewDrive(), emulator.NewDrive()}}
	rig.Library = emulator.NewLibrary(rig.Cores, drivetest.ChangerSlots, 2)
	rig.Open = func() (drive.Changer, error) { return rig.Library, nil }
	for _, core := range rig.Cores {
		rig.OpenDrive = append(rig.OpenDrive, inProcess(core, nil).Open)
	}
	drivetest.RunChanger(t, rig)
}
