package pg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// SignalBelow sends a signal to everything that stands below a child of the server:
// to the processes of a command that it has started, which may work in any
// directory. All are held by handles and looked at once more before the first one
// gets it, since they leave their place when one above them ends. It gives those
// that it was sent to.
func (c *Cluster) SignalBelow(parent Process, signal syscall.Signal) (sent []Process, err error) {
	if err := allowed(parent, signal); err != nil {
		return nil, err
	}
	below, err := c.Descendants(parent.PID)
	if err != nil {
		return nil, err
	}
	handles := make(map[int]int, len(below))
	defer func() {
		for _, handle := range handles {
			release(handle)
		}
	}()
	for _, p := range below {
		handle, err := hold(p.PID)
		if err != nil {
			continue // it has ended
		}
		handles[p.PID] = handle
	}
	again, err := c.Descendants(parent.PID)
	if err != nil {
		return nil, err
	}
	if above, err := c.look(parent.PID); err != nil || !parent.same(above) {
		return nil, ErrGone
	}
	for _, p := range below {
		handle, held := handles[p.PID]
		if !held || !slices.ContainsFunc(again, p.same) {
			continue
		}
		if err := deliver(handle, p.PID, signal); err == nil {
			sent = append(sent, p)
		} else if !errors.Is(err, unix.ESRCH) {
			return sent, err
		}
	}
	return sent, nil
}

func (c *Cluster) send(p Process, signal syscall.Signal, verify func(now Process) error) error {
	if err := allowed(p, signal); err != nil {
		return err
	}
	handle, err := hold(p.PID)
	if err != nil {
		return err
	}
	defer release(handle)
	if err := c.verify(p, signal, verify); err != nil {
		return err
	}
	err = deliver(handle, p.PID, signal)
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

// allowed refuses what is never sent. SIGQUIT is an immediate stop: whoever sends it
// has shown before that it is safe.
func allowed(p Process, signal syscall.Signal) error {
	switch signal {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT:
		return nil
	default:
		return refusedSignal(p, signal, errors.New("this signal is never sent to a server"))
	}
}

// noHandle is the handle of a process where the system has none.
const noHandle = -1

// hold gives a handle that keeps a process's number from being another's.
func hold(pid int) (int, error) {
	handle, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return noHandle, ErrGone
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // an old kernel, or a filter of a container
		return noHandle, nil
	case err != nil:
		return noHandle, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return handle, nil
}

func release(handle int) {
	if handle != noHandle {
		_ = unix.Close(handle) // nothing was written through it
	}
}

// deliver sends a signal through a handle.
func deliver(handle, pid int, signal syscall.Signal) error {
	if handle == noHandle {
		return unix.Kill(pid, signal)
	}
	return unix.PidfdSendSignal(handle, signal, nil, 0)
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
	handle, err := hold(p.PID)
	if err != nil {
		return 0, err
	}
	if handle == noHandle {
		return 0, ErrForbidden
	}
	defer release(handle)
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
		return false, nil // it has no other end
	}
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
		return false, fmt.Errorf("shutdown: %w", err)
	}
	return true, nil
}
