package tree

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"capstan"
)

// failure names the path and gives the class of an error of the target. An
// error that already is told to people stays as it is, and nil stays nil.
func failure(path string, err error) error {
	var told *capstan.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	var read *readError
	switch {
	case errors.As(err, &read):
		return &capstan.Error{Op: "restore", Object: quote(path), Err: read.err, Safe: "nothing half-written was left there"}
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return noSpace(path, err)
	case errors.Is(err, unix.EEXIST):
		return exists(path)
	case errors.Is(err, unix.ENAMETOOLONG):
		err = fmt.Errorf("a name is longer than the target's filesystem allows: %w", err)
	}
	return &capstan.Error{Op: "restore", Object: quote(path), Err: err}
}

// openFailure tells why a target cannot be used.
func openFailure(dir string, err error, notDir bool) error {
	failed := &capstan.Error{Op: "open restore target", Object: quote(dir), Err: err}
	if notDir {
		failed.Class = capstan.ErrRefused
		failed.Err = fmt.Errorf("it is no directory: %w", err)
		failed.Next = "name a directory"
	}
	return failed
}

// retry repeats a system call that a signal cut short before it did anything.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openat(dir int, name string, flags int, mode uint32) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, flags, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// unsupported reports that the filesystem does not know what was asked.
func unsupported(err error) bool {
	return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS)
}

// notPermitted reports that the process lacks the right.
func notPermitted(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
}

// isACL tells the attributes that Entry.ACL and Entry.DefaultACL stand for.
func isACL(name string) bool { return strings.HasPrefix(name, "system.posix_acl_") }
