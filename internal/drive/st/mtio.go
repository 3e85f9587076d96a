//go:build linux && (amd64 || arm64)

package st

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls of <linux/mtio.h>, on machines where a long has 64 bits.
const (
	mtiocTop = 0x40086d01
	mtiocGet = 0x80306d02
	mtiocPos = 0x80086d03
)

// Operations of mtiocTop.
const (
	opForwardFiles  = 1
	opBackwardFiles = 2
	opFilemarks     = 5
	opRewind        = 6
	opOffline       = 7
	opEnd           = 12
	opBlockSize     = 20
	opSeek          = 22
	opOptions       = 24
	opUnlock        = 29
	opLoad          = 30
	opFilemarksSoon = 35
)

// clearWriteBehind is the option that ends buffered and asynchronous writes.
const clearWriteBehind = 0x40000000 | 0x1 | 0x2

// Bits of the general status.
const (
	statusEndOfTape = 0x20000000
	statusEndOfData = 0x08000000
	statusProtected = 0x04000000
	statusOnline    = 0x01000000
)

type tapeOperation struct {
	op    int16
	_     int16
	count int32
}

type tapeStatus struct {
	kind, residue, dsreg, general, errors int64
	file, block                           int32
}

// ioctl calls the device; a call that a signal interrupted has done nothing yet and is
// made again.
func ioctl(fd int, request uintptr, argument unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument))
		switch {
		case errno == 0:
			return nil
		case !errors.Is(errno, unix.EINTR):
			return errno
		}
	}
}

// operate carries out an operation.
func (d *Device) operate(op int16, count int32) error {
	operation := tapeOperation{op: op, count: count}
	return ioctl(d.fd, mtiocTop, unsafe.Pointer(&operation))
}

// general asks the driver, not the drive, for its status.
func (d *Device) general() (int64, error) {
	var status tapeStatus
	err := ioctl(d.fd, mtiocGet, unsafe.Pointer(&status))
	return status.general, err
}

// where asks the drive for its position.
func (d *Device) where() (int64, error) {
	var object int64
	err := ioctl(d.fd, mtiocPos, unsafe.Pointer(&object))
	return object, err
}
