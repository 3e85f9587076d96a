package capstantest

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// RemoveAll removes dir and all below it, whatever its modes and however long
// its paths; it fails tb if something is left. A dir that is not there is fine.
func RemoveAll(tb testing.TB, dir string) {
	tb.Helper()
	if err := removeAll(node{unix.AT_FDCWD, dir}); err != nil {
		tb.Errorf("remove %s: %v", dir, err)
	}
}

func removeAll(n node) error {
	err := unix.Unlinkat(n.dir, n.name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("unlink %q: %w", n.name, err)
	}
	path, err := n.open(unix.O_PATH | unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open %q: %w", n.name, err)
	}
	err = errors.Join(unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", path), 0o700), removeBelow(path), unix.Close(path))
	return errors.Join(err, unix.Unlinkat(n.dir, n.name, unix.AT_REMOVEDIR))
}

func removeBelow(dir int) error {
	names, err := list(dir)
	for _, name := range names {
		err = errors.Join(err, removeAll(node{dir, name}))
	}
	return err
}
