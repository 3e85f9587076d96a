package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Guest is what a program's TestMain calls inside the machine: it mounts what a
// system has, loads the modules, runs the tests and turns the machine off. It does not
// return.
func Guest(m *testing.M) {
	code := 2
	if err := prepare(); err != nil {
		say("capstan-guest: %v", err)
	} else {
		code = m.Run()
	}
	say("\n%s%d", exitLine, code)
	unix.Sync()
	say("capstan-guest: reboot: %v", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
}

// say prints on the console, which is all that the machine has.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stdout, format+"\n", args...) //nolint:forbidigo // the machine's serial port, which the host reads
}

// prepare makes a system of the bare machine.
func prepare() error {
	for _, mount := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"},
	} {
		if err := unix.Mount(mount.kind, mount.at, mount.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", mount.at, err)
		}
	}
	// Run has asked for it; with another one all times in the machine may be wrong.
	clock, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	if err != nil || strings.TrimSpace(string(clock)) != "hpet" {
		return fmt.Errorf("the machine's clock is %q, not hpet (%v)", clock, err) //nolint:errorlint // it may be nil
	}
	modules, err := filepath.Glob("/" + modulesDir + "/*.ko") // in order
	if err != nil {
		return err
	}
	for _, path := range modules {
		if err := load(path); err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	if _, err := os.Stat("/sys/kernel/config"); err == nil {
		return unix.Mount("configfs", "/sys/kernel/config", "configfs", 0, "")
	}
	return nil
}

func load(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.FinitModule(int(file.Fd()), "", 0)
}
