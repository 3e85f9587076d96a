package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Machine is what runs in the virtual machine.
type Machine struct {
	Program string   // a static executable; the machine's first and only process
	Args    []string // of the program; without spaces
	Modules []string // names of kernel modules, each after those that it needs
	Memory  int      // MiB
}

// modulesDir is where the modules lie in the machine.
const modulesDir = "modules"

// exitLine is what Guest prints last.
const exitLine = "capstan-guest: exit code "

// ErrFailed reports that the program ended with another code than 0.
var ErrFailed = errors.New("the program in the virtual machine failed")

// Run starts the machine in a directory for its files, and gives what the program and
// the kernel printed. The error is ErrFailed if the program's tests failed, another
// one if the machine did not come to its end.
func Run(ctx context.Context, dir string, m Machine) (console string, err error) {
	kernel, err := findKernel()
	if err != nil {
		return "", err
	}
	root := filepath.Join(dir, "initramfs")
	if err := m.build(root, kernel); err != nil {
		return "", err
	}
	// The clock is one that QEMU keeps: how fast the processor's own counter runs, a kernel
	// measures wrongly on a busy host, and its time jumps by half an hour then. Nor does it ask whether the timer's interrupt comes
	// soon enough, which it does not there, and would be the end of the machine.
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", //nolint:forbidigo // a test's program, read to its end
		"-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "1", "-m", fmt.Sprint(m.Memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", root,
		"-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off clocksource=hpet tsc=unstable no_timer_check random.trust_cpu=on rdinit=/init -- "+strings.Join(m.Args, " "))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	console, code := read(out)
	if err := cmd.Wait(); err != nil {
		return console, fmt.Errorf("qemu: %w: %s", errors.Join(err, context.Cause(ctx)), stderr.String())
	}
	switch code {
	case "":
		return console, errors.New("the virtual machine ended before its program did")
	case "0":
		return console, nil
	}
	return console, fmt.Errorf("%w with exit code %s", ErrFailed, code)
}

// keep bounds what is kept of the console.
const keep = 1 << 20

// read reads the console to its end, and finds the exit code.
func read(out interface{ Read([]byte) (int, error) }) (console, code string) {
	var text strings.Builder
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, keep)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if found, ok := strings.CutPrefix(line, exitLine); ok {
			code = found
			continue
		}
		if text.Len() < keep {
			text.WriteString(line + "\n")
		}
	}
	return text.String(), code
}

// findKernel gives the directory that scripts/install-vm.sh made.
func findKernel() (string, error) {
	caches := []string{os.Getenv("CAPSTAN_TEST_CACHE"), "/var/cache/capstan-test"}
	if home, err := os.UserCacheDir(); err == nil {
		caches = append(caches, filepath.Join(home, "capstan-test"))
	}
	for _, cache := range caches {
		found, err := filepath.Glob(filepath.Join(cache, "vm-kernel-*", "vmlinuz"))
		if err == nil && cache != "" && len(found) > 0 {
			return filepath.Dir(found[len(found)-1]), nil
		}
	}
	return "", errors.New("there is no kernel for the virtual machine: run scripts/install-test-tools.sh")
}

// build writes the machine's first filesystem.
func (m Machine) build(path, kernel string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewWriterSize(file, 1<<20)
	a := &archive{w: buffered}
	for _, dir := range []string{"dev", "proc", "sys", "tmp", modulesDir} {
		a.add(dir, modeDirectory, nil)
	}
	a.add("dev/console", modeCharacter, nil, 5, 1)
	program, err := os.ReadFile(m.Program)
	if err != nil {
		return err
	}
	a.add("init", modeProgram, program)
	for i, name := range m.Modules {
		module, err := os.ReadFile(filepath.Join(kernel, "modules", name+".ko"))
		if err != nil {
			return err
		}
		a.add(fmt.Sprintf("%s/%02d-%s.ko", modulesDir, i, name), modeFile, module)
	}
	if err := a.close(); err != nil {
		return err
	}
	return buffered.Flush()
}
