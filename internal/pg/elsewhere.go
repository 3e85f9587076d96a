//go:build !linux

package pg

import (
	"context"
	"errors"
	"syscall"
	"time"

	"capstan"
	"capstan/internal/process"
)

// ErrForbidden reports that the system does not let this process reach into
// another's sockets.
var ErrForbidden = errors.New("the system does not allow it")

func elsewhere() error {
	return &capstan.Error{Class: capstan.ErrRefused, Op: "look at the server", Err: ErrPlatform, Safe: "nothing was touched"}
}

func ownerOf(string) (process.Account, string, error) { return process.Account{}, "", ErrPlatform }

func (*Cluster) commandOf(int) (string, []string, error) { return "", nil, elsewhere() }

// Server needs Linux.
func (*Cluster) Server() (Server, error) { return Server{}, elsewhere() }

// Children needs Linux.
func (*Cluster) Children(Server, string) ([]Child, error) { return nil, elsewhere() }

// Descendants needs Linux.
func (*Cluster) Descendants(int) ([]Process, error) { return nil, elsewhere() }

// Strays needs Linux.
func (*Cluster) Strays(Server) ([]Process, error) { return nil, elsewhere() }

// FromServer needs Linux.
func (*Cluster) FromServer(Process) bool { return false }

// OpenPaths needs Linux.
func (*Cluster) OpenPaths(int) ([]string, error) { return nil, elsewhere() }

// Gone needs Linux.
func (*Cluster) Gone(context.Context, Process, time.Duration) error { return elsewhere() }

// Signal needs Linux.
func (*Cluster) Signal(Process, syscall.Signal, func(Process) error) error { return elsewhere() }

// SignalBelow needs Linux.
func (*Cluster) SignalBelow(Process, syscall.Signal) ([]Process, error) { return nil, elsewhere() }

// Cut needs Linux.
func (*Cluster) Cut(Process, func(Process) error) (int, error) { return 0, elsewhere() }

func dialAs(process.Account) func(context.Context, string, string) (netConn, error) { return nil }
