//go:build linux

package tcmu

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// configfs is where the kernel's target is configured; it must be mounted there.
const configfs = "/sys/kernel/config/target"

// Attach makes a SCSI device of a target, number 0 or above for each in turn. The
// device nodes are there when it returns. Failures of the ring go to fail.
func Attach(number int, target Target, fail func(error)) error {
	name := fmt.Sprintf("capstan%d", number)
	core := fmt.Sprintf("%s/core/user_%d/%s", configfs, number, name)
	if err := os.MkdirAll(core, 0o755); err != nil {
		return err
	}
	config := fmt.Sprintf("dev_config=capstan/%s,dev_size=1048576,hw_block_size=512,nl_reply_supported=-1,max_data_area_mb=64", name)
	for _, setting := range []struct{ file, value string }{
		{"control", config}, {"enable", "1"}, {"attrib/cmd_time_out", "0"},
	} {
		if err := os.WriteFile(filepath.Join(core, setting.file), []byte(setting.value), 0o644); err != nil {
			return err
		}
	}
	r, err := open(name, target)
	if err != nil {
		return err
	}
	go func() { fail(r.serve()) }()
	return link(number, core)
}

// open maps the ring of a device.
func open(name string, target Target) (*ring, error) {
	found, err := filepath.Glob("/sys/class/uio/uio*/name")
	if err != nil {
		return nil, err
	}
	for _, path := range found {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(content), "/"+name) {
			continue
		}
		dir := filepath.Dir(path)
		text, err := os.ReadFile(filepath.Join(dir, "maps/map0/size"))
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(text)), 0, 64)
		if err != nil {
			return nil, err
		}
		fd, err := unix.Open("/dev/"+filepath.Base(dir), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		memory, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, err
		}
		return &ring{fd: fd, memory: memory, target: target}, nil
	}
	return nil, fmt.Errorf("no /dev/uio has the name %s", name)
}

// link makes a SCSI bus with the device as its only unit.
func link(number int, core string) error {
	bus := fmt.Sprintf("%s/loopback/naa.50014050000000%02x", configfs, number+1)
	unit := bus + "/tpgt_1/lun/lun_0"
	if err := os.MkdirAll(unit, 0o755); err != nil {
		return err
	}
	nexus := fmt.Sprintf("naa.60014050000000%02x", number+1)
	if err := os.WriteFile(bus+"/tpgt_1/nexus", []byte(nexus), 0o644); err != nil {
		return err
	}
	return os.Symlink(core, unit+"/device")
}
