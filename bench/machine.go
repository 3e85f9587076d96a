package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"capstan"
)

// fact is one line about the machine.
type fact struct{ name, value string }

// describe tells what the figures were made on; "unknown" stands for what the
// system does not say.
func describe(ctx context.Context) []fact {
	return []fact{
		{"commit", first(ctx, "git", "describe", "--always", "--dirty")},
		{"Go", runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
		{"processor", fmt.Sprintf("%s, %d cores", procField("/proc/cpuinfo", "model name"), runtime.NumCPU())},
		{"memory", memory()},
		{"kernel", first(ctx, "uname", "-sr")},
		{"load before", first(ctx, "cut", "-d", " ", "-f1-3", "/proc/loadavg")},
		{"tar", first(ctx, "tar", "--version")},
		{"zstd", first(ctx, "zstd", "--version")},
		{"restic", first(ctx, "restic", "version")},
		{"pigz", first(ctx, "pigz", "--version")},
	}
}

func filesystem(ctx context.Context, dir string) string {
	return first(ctx, "stat", "-f", "-c", "%T", dir)
}

// first gives the first line that a command prints.
func first(ctx context.Context, program string, args ...string) string {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || line == "" {
		return "unknown"
	}
	return strings.Trim(line, "* ")
}

func memory() string {
	text, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal"), " ")
	kib, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "unknown"
	}
	return (capstan.Bytes(kib) * capstan.KiB).String()
}

// procField gives the first value of a field in a file of "name: value" lines.
func procField(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
