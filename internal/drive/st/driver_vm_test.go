//go:build capstanvm

// What runs inside the virtual machine: the suite on the kernel's own tape driver.

package st_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/capstantest/vm"
	"capstan/internal/drive"
	"capstan/internal/drive/drivetest"
	"capstan/internal/drive/emulator"
	"capstan/internal/drive/st"
	"capstan/internal/drive/tcmu"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		fmt.Fprintln(os.Stderr, writeAndWait(path))
		os.Exit(1)
	}
	vm.Guest(m)
}

func TestTape(t *testing.T) {
	core, open := tape(t)
	drivetest.Run(t, func(*testing.T) *drivetest.Rig {
		core.Remove()
		core.LimitBlocks(0)
		return &drivetest.Rig{
			Core: core,
			Open: open,
			Blank: func(_ *testing.T, capacity, warning capstan.Bytes) *emulator.Cartridge {
				return emulator.Blank(capacity, warning)
			},
		}
	})
}

func TestChanger(t *testing.T) {
	rig := &drivetest.ChangerRig{}
	for range 2 {
		core, open := tape(t)
		rig.Cores = append(rig.Cores, core)
		rig.OpenDrive = append(rig.OpenDrive, open)
	}
	rig.Library = emulator.NewLibrary(rig.Cores, drivetest.ChangerSlots, 2)
	attach(t, &tcmu.Changer{Library: rig.Library, Serial: "EMULIB"})
	rig.Open = func() (drive.Changer, error) {
		changer, err := st.OpenChanger(node(t, "scsi_generic/sg*", "8"))
		if err != nil {
			return nil, err
		}
		return changer, nil
	}
	drivetest.RunChanger(t, rig)
}

// tape attaches a further drive, and gives what opens it.
func tape(t *testing.T) (*emulator.Drive, func() (drive.Device, error)) {
	t.Helper()
	core := emulator.NewDrive()
	attach(t, &tcmu.Tape{Core: core, Serial: "EMUTAPE"})
	path := node(t, "scsi_tape/nst[0-9]", "1")
	return core, func() (drive.Device, error) {
		device, err := st.Open(path)
		if err != nil {
			return nil, err
		}
		return device, nil
	}
}

// node gives the newest device node of a class whose SCSI device has a type.
func node(t *testing.T, class, kind string) string {
	t.Helper()
	found, err := filepath.Glob("/sys/class/" + class)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(found)
	for _, path := range found {
		content, err := os.ReadFile(path + "/device/type")
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(content)) == kind {
			return "/dev/" + filepath.Base(path)
		}
	}
	t.Fatalf("there is no %s of type %s", class, kind)
	return ""
}

// attached is the number of devices so far; tests run one after the other.
var attached int

// attach makes a SCSI device of a target, for the rest of the machine's life.
func attach(t *testing.T, target tcmu.Target) {
	t.Helper()
	attached++
	if err := tcmu.Attach(attached-1, target, func(err error) {
		fmt.Fprintln(os.Stderr, "the SCSI target has ended:", err)
	}); err != nil {
		t.Fatal(err)
	}
}

// childVariable makes the program the one that is killed; it names the device.
const childVariable = "CAPSTAN_TEST_CHILD_TAPE"

// TestKilled: a process that is killed while it writes leaves all that it had synced,
// also when the drive was reset before the kernel closes the device for it.
func TestKilled(t *testing.T) {
	core, open := tape(t)
	path := node(t, "scsi_tape/nst[0-9]", "1")
	for _, reset := range []bool{false, true} {
		core.Remove()
		core.Insert(emulator.Blank(64*capstan.MiB, 0))
		child := exec.CommandContext(t.Context(), "/init")
		child.Env = []string{childVariable + "=" + path}
		child.Stderr = os.Stderr
		held, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n') // it has written, and waits
		if err != nil {
			t.Fatalf("the child said %q: %v", line, err)
		}
		if reset {
			core.Reset()
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		_ = held.Close() // already, by Wait
		cartridge, _ := core.Cartridge()
		layout, err := cartridge.Layout()
		if err != nil {
			t.Fatal(err)
		}
		// The driver ends the file by itself; after a reset it is told of that instead.
		want := "[100 0 200 0]"
		if reset {
			want = "[100 0 200]"
		}
		if got := fmt.Sprint(layout); got != want {
			t.Errorf("reset %v: on the tape lie %s, want %s", reset, got, want)
		}
		appendAfter(t, open, int64(len(layout)))
	}
}

// appendAfter opens the drive anew and goes on at the end of data.
func appendAfter(t *testing.T, open func() (drive.Device, error), end int64) {
	t.Helper()
	device, err := open()
	if err != nil {
		t.Fatal(err)
	}
	d := drive.New("lto1", device)
	got, err := d.SpaceEOD(t.Context())
	if err != nil || got != end {
		t.Fatalf("the end of data is object %d (%v), want %d", got, err, end)
	}
	if err := d.WriteBlock(t.Context(), make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteFilemarks(t.Context(), 1, drive.Sync); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// writeAndWait is the child: it writes a file, the beginning of another one, says so
// and waits for its end.
func writeAndWait(path string) error {
	device, err := st.Open(path)
	if err != nil {
		return err
	}
	d, ctx := drive.New("lto1", device), context.Background()
	if err := d.Load(ctx); err != nil {
		return err
	}
	if err := d.WriteBlock(ctx, make([]byte, 100)); err != nil {
		return err
	}
	if err := d.WriteFilemarks(ctx, 1, drive.Sync); err != nil {
		return err
	}
	if err := d.WriteBlock(ctx, make([]byte, 200)); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "written")
	_, err = io.Copy(io.Discard, os.Stdin) // held open, so that this does not end
	return err
}
