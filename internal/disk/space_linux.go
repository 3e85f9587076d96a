package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"capstan"
)

func space(path string) (Space, error) {
	stat, err := statfs(path)
	if err != nil {
		return Space{}, err
	}
	unit := stat.Frsize // blocks are counted in fragments; 0 in very old answers
	if unit <= 0 {
		unit = stat.Bsize
	}
	return Space{
		Total: multiply(stat.Blocks, unit),
		Free:  multiply(stat.Bavail, unit),
	}, nil
}

func statfs(path string) (unix.Statfs_t, error) {
	var stat unix.Statfs_t
	for {
		err := unix.Statfs(path, &stat)
		if !errors.Is(err, unix.EINTR) {
			return stat, err
		}
	}
}

func sameFilesystem(a, b string) (bool, error) {
	var one, two unix.Statx_t
	const mask = unix.STATX_BASIC_STATS | unix.STATX_MNT_ID
	errOne := unix.Statx(unix.AT_FDCWD, a, unix.AT_STATX_SYNC_AS_STAT, mask, &one)
	errTwo := unix.Statx(unix.AT_FDCWD, b, unix.AT_STATX_SYNC_AS_STAT, mask, &two)
	if errOne != nil || errTwo != nil { // also where a sandbox forbids statx
		return sameDevice(a, b)
	}
	if one.Mask&two.Mask&unix.STATX_MNT_ID != 0 && one.Mnt_id != two.Mnt_id {
		return false, nil
	}
	return one.Dev_major == two.Dev_major && one.Dev_minor == two.Dev_minor, nil
}

// filesystem looks for the mount that path lies on: the longest mount point
// that is a prefix, and of equal ones the last, which covers the others.
func filesystem(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", err
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		if kind := mountKind(table, path); kind != "" {
			return kind, nil
		}
	}
	stat, err := statfs(path)
	if err != nil {
		return "", &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return fmt.Sprintf("type %#x", uint32(stat.Type)), nil //nolint:gosec // a magic number, not a quantity
}

// mountKind reads the lines of proc_pid_mountinfo(5): the fifth field is the
// mount point, the first after a lone "-" the filesystem's kind.
func mountKind(table []byte, path string) string {
	kind, longest := "", -1
	for line := range bytes.Lines(table) {
		left, right, ok := bytes.Cut(line, []byte(" - "))
		fields, after := bytes.Fields(left), bytes.Fields(right)
		if !ok || len(fields) < 5 || len(after) == 0 {
			continue
		}
		point := unescapeMount(string(fields[4]))
		if len(point) >= longest && (point == "/" || capstan.Within(path, point)) {
			kind, longest = string(after[0]), len(point)
		}
	}
	return kind
}

// unescapeMount undoes the octal escapes of space, tab, newline and backslash.
func unescapeMount(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out = append(out, byte(b))
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
