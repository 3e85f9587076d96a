package pg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"capstan"
)

// Signal sends a signal to a process of the cluster, after it was looked at once
// more while a handle holds its number: it must be the same process, still the
// child of the same parent, and pass verify, which gets what it is now (nil: no
// further question). ErrGone says that it has ended meanwhile; a signal that must
// never be sent, and a process that is another than it was, are
// capstan.ErrRefused.
//
// The handle is a pidfd, so that the number cannot go to another process between
// the look and the signal. Linux before 5.3 has none; there a moment remains.
func (c *Cluster) Signal(p Process, signal syscall.Signal, verify func(now Process) error) error {
	return c.send(p, signal, c.here(verify))
}

// here adds to a question whether the process works in PGDATA.
func (c *Cluster) here(verify func(now Process) error) func(now Process) error {
	return func(now Process) error {
		works, err := c.worksHere(now.PID)
		if err == nil && !works {
			err = errors.New("it does not work in " + c.Dir)
		}
		if err == nil && verify != nil {
			err = verify(now)
		}
		return err
	}
}

// SignalBelow is Signal for a command that a child of the server has started. It
// may work in any directory; that it still stands below that child is looked at
// instead. Without a parent, because that is gone, it has to work in PGDATA.
func (c *Cluster) SignalBelow(p Process, parent *Process, signal syscall.Signal) error {
	if parent == nil {
		return c.Signal(p, signal, nil)
	}
	return c.send(p, signal, func(now Process) error {
		below, err := c.Descendants(parent.PID)
		if err != nil {
			return err
		}
		above, err := c.look(parent.PID)
		if err != nil {
			return err
		}
		for _, one := range below {
			if one.PID == now.PID && one.Start == now.Start && parent.same(above) {
				return nil
			}
		}
		return fmt.Errorf("it does not stand below process %d any more", parent.PID)
	})
}

func (c *Cluster) send(p Process, signal syscall.Signal, verify func(now Process) error) error {
	switch signal {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT:
	default:
		return refusedSignal(p, signal, errors.New("this signal is never sent to a server"))
	}
	handle, err := unix.PidfdOpen(p.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return ErrGone
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // an old kernel, or a filter of a container
		handle = -1
	case err != nil:
		return fmt.Errorf("pidfd_open %d: %w", p.PID, err)
	default:
		defer unix.Close(handle) //nolint:errcheck // nothing is written through it
	}
	if err := c.verify(p, signal, verify); err != nil {
		return err
	}
	if handle < 0 {
		err = unix.Kill(p.PID, signal)
	} else {
		err = unix.PidfdSendSignal(handle, signal, nil, 0)
	}
	switch {
	case errors.Is(err, unix.ESRCH):
		return ErrGone
	case errors.Is(err, unix.EPERM):
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: fmt.Sprintf("send %s to process", unix.SignalName(signal)), Object: strconv.Itoa(p.PID), Err: err,
			Safe: "nothing was touched", Next: "run this as " + c.OwnerName + " or as root",
		}
	}
	return err
}

// verify looks at a process once more.
func (c *Cluster) verify(p Process, signal syscall.Signal, question func(now Process) error) error {
	now, err := c.look(p.PID)
	if err != nil {
		return err
	}
	if now.Dead || now.Start != p.Start {
		return ErrGone
	}
	if !p.same(now) {
		return refusedSignal(p, signal, fmt.Errorf("its parent is %d, not %d", now.PPID, p.PPID))
	}
	if err := question(now); err != nil {
		return refusedSignal(p, signal, err)
	}
	return nil
}

func refusedSignal(p Process, signal syscall.Signal, why error) error {
	name := unix.SignalName(signal)
	if name == "" {
		name = "signal " + strconv.Itoa(int(signal))
	}
	return &capstan.Error{
		Class: capstan.ErrRefused, Op: fmt.Sprintf("send %s to process", name), Object: strconv.Itoa(p.PID), Err: why, Safe: "it was not sent",
	}
}

// ErrForbidden reports that the system does not let this process reach into
// another's sockets.
var ErrForbidden = errors.New("the system does not allow it (Yama's ptrace_scope, or a container)")

// Cut shuts the connections of a walsender down, as if its consumer had gone: both
// directions of each connected stream socket that it has open, never one that
// listens. It looks at the process once more, as Signal does, and gives the number
// of sockets that it shut down. ErrForbidden says that this is not allowed here;
// nothing was touched then.
func (c *Cluster) Cut(p Process, verify func(now Process) error) (int, error) {
	handle, err := unix.PidfdOpen(p.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return 0, ErrGone
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return 0, ErrForbidden
	case err != nil:
		return 0, fmt.Errorf("pidfd_open %d: %w", p.PID, err)
	}
	defer unix.Close(handle) //nolint:errcheck // nothing is written through it
	if err := c.verify(p, syscall.SIGTERM, c.here(verify)); err != nil {
		return 0, err
	}
	names, err := os.ReadDir(filepath.Join(c.proc, strconv.Itoa(p.PID), "fd"))
	if err != nil {
		return 0, err
	}
	count := 0
	for _, name := range names {
		link, err := os.Readlink(filepath.Join(c.proc, strconv.Itoa(p.PID), "fd", name.Name()))
		if err != nil || !strings.HasPrefix(link, "socket:") {
			continue
		}
		number, err := strconv.Atoi(name.Name())
		if err != nil {
			continue
		}
		done, err := shut(handle, number)
		if err != nil {
			return count, err
		}
		if done {
			count++
		}
	}
	return count, nil
}

// shut shuts one socket of another process down, if it is a connected stream.
func shut(handle, number int) (bool, error) {
	fd, err := unix.PidfdGetfd(handle, number, 0)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS):
		return false, ErrForbidden
	case errors.Is(err, unix.EBADF): // closed meanwhile
		return false, nil
	case errors.Is(err, unix.ESRCH):
		return false, ErrGone
	case err != nil:
		return false, fmt.Errorf("pidfd_getfd: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // a second number for a socket that was shut down
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return false, err
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listens != 0 {
		return false, err
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return false, nil //nolint:nilerr // it has no other end
	}
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
		return false, fmt.Errorf("shutdown: %w", err)
	}
	return true, nil
}
