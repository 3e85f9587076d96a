package pg

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"

	"capstan/internal/process"
)

// dialAs connects to a socket as another user: the server asks the system who
// connected (SO_PEERCRED), which is who the calling thread was at that moment.
// Identities belong to threads in Linux, so that only this one changes its own
// and nothing else of the program runs under it.
func dialAs(as process.Account) func(ctx context.Context, network, address string) (netConn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		type dialed struct {
			conn net.Conn
			err  error
		}
		done := make(chan dialed, 1)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with its foreign identity
			if err := become(as); err != nil {
				done <- dialed{nil, err}
				return
			}
			var dialer net.Dialer
			conn, err := dialer.DialContext(ctx, network, address)
			done <- dialed{conn, err}
		}()
		result := <-done // bounded: DialContext ends with ctx
		return result.conn, result.err
	}
}

// become changes the identity of the calling thread alone.
func become(as process.Account) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, ^uintptr(0), uintptr(as.GID), ^uintptr(0)); errno != 0 {
		return fmt.Errorf("setresgid: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(as.UID), ^uintptr(0)); errno != 0 {
		return fmt.Errorf("setresuid: %w", errno)
	}
	return nil
}
