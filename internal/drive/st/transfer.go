//go:build linux && (amd64 || arm64)

package st

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"capstan/internal/drive"
)

// alignment is more than any adapter asks for.
const alignment = 4096

// memory gives memory of n bytes that the driver transfers from directly: p itself if
// it lies well.
func (d *Device) memory(p []byte) ([]byte, error) {
	if uintptr(unsafe.Pointer(&p[0]))%alignment == 0 {
		return p, nil
	}
	if len(d.aligned) < len(p) {
		d.free()
		size := (len(p) + alignment - 1) / alignment * alignment
		memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return nil, fmt.Errorf("%w: memory of %d bytes: %w", drive.ErrBlockLimit, size, err)
		}
		d.aligned = memory
	}
	return d.aligned[:len(p)], nil
}

// free lets go of the aligned memory.
func (d *Device) free() {
	if d.aligned != nil {
		_ = unix.Munmap(d.aligned) // it is mapped, whole
		d.aligned = nil
	}
}

// WriteBlock writes a block.
func (d *Device) WriteBlock(p []byte) error {
	if d.readOnly {
		return drive.ErrWriteProtected
	}
	memory, err := d.memory(p)
	if err != nil {
		return err
	}
	copy(memory, p) // onto itself, if it is p
	n, err := d.write(memory)
	warned := errors.Is(err, unix.ENOSPC)
	if warned {
		n, err = d.write(memory)
	}
	switch {
	case err == nil && n == len(p):
		return d.warning(warned)
	case err == nil:
		err = fmt.Errorf("%d of %d bytes were written", n, len(p))
	case errors.Is(err, unix.ENOSPC):
		return drive.ErrEndOfTape
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return drive.ErrWriteProtected
	case tooLarge(err):
		return fmt.Errorf("%w: %d bytes (%w)", drive.ErrBlockLimit, len(p), err)
	}
	d.idle()
	return d.failed(err)
}

// warning is the outcome of a block that was written.
func (d *Device) warning(warned bool) error {
	if !warned {
		general, err := d.general()
		if err != nil {
			return d.failed(err)
		}
		warned = general&statusEndOfTape != 0
	}
	if warned {
		return drive.ErrEarlyWarning
	}
	return nil
}

func (d *Device) write(p []byte) (n int, err error) {
	for {
		if n, err = unix.Write(d.fd, p); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// tooLarge reports an error that the driver gives before anything is sent.
func tooLarge(err error) bool {
	for _, errno := range []error{unix.EINVAL, unix.EOVERFLOW, unix.ENOMEM, unix.EBUSY} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// WriteFilemarks writes filemarks.
func (d *Device) WriteFilemarks(n int, flush drive.Flush) error {
	if d.readOnly {
		return drive.ErrWriteProtected
	}
	op := int16(opFilemarks)
	if flush != drive.Sync {
		op = opFilemarksSoon
	}
	err := d.operate(op, int32(n))
	switch {
	case errors.Is(err, unix.ENOSPC):
		return drive.ErrEndOfTape
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return drive.ErrWriteProtected
	}
	return d.failed(err)
}

// ReadBlock reads a block.
func (d *Device) ReadBlock(p []byte) (int, error) {
	memory, err := d.memory(p)
	if err != nil {
		return 0, err
	}
	n, err := d.read(memory)
	switch {
	case err == nil && n > 0:
		return copy(p, memory[:n]), nil
	case err == nil:
		return 0, d.mark()
	case errors.Is(err, unix.ENOMEM):
		return 0, drive.ErrBlockTooLarge
	case tooLarge(err):
		return 0, fmt.Errorf("%w: %d bytes (%w)", drive.ErrBlockLimit, len(p), err)
	case errors.Is(err, unix.EIO) && d.atEnd():
		return 0, drive.ErrEndOfData
	case errors.Is(err, unix.EIO):
		return 0, fmt.Errorf("%w: %w", drive.ErrMedium, d.failed(err))
	}
	return 0, d.failed(err)
}

// mark is the outcome of a read that gave nothing.
func (d *Device) mark() error {
	general, err := d.general()
	switch {
	case err != nil:
		return d.failed(err)
	case general&statusEndOfData != 0:
		return drive.ErrEndOfData
	}
	return drive.ErrFilemark
}

func (d *Device) read(p []byte) (n int, err error) {
	for {
		if n, err = unix.Read(d.fd, p); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
