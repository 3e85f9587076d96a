//go:build linux && (amd64 || arm64)

package st

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"capstan/internal/drive"
)

// Device is a tape drive behind the driver.
type Device struct {
	path string
	fd   int // -1: closed, or could not be opened again
	// readOnly is a device that was opened with a write-protected cartridge in it.
	readOnly bool
	// stale reports that the driver may be wrong about the cartridge.
	stale bool
	// aligned is memory that the driver transfers from directly.
	aligned []byte
}

// Open opens the device without waiting for a cartridge; it fails with drive.ErrBusy
// if another process has it open. Of what lies in the drive nothing is changed.
func Open(path string) (*Device, error) {
	d := &Device{path: path, fd: -1}
	if err := d.open(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Device) open() error {
	for _, mode := range []int{unix.O_RDWR, unix.O_RDONLY} {
		fd, err := unix.Open(d.path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			d.fd, d.readOnly, d.stale = fd, mode == unix.O_RDONLY, false
			return d.configure()
		case errors.Is(err, unix.EBUSY):
			return fmt.Errorf("%s: %w", d.path, drive.ErrBusy)
		case !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EACCES):
			return fmt.Errorf("open %s: %w", d.path, err)
		}
	}
	return fmt.Errorf("open %s: %w", d.path, unix.EACCES)
}

// configure asks for blocks of any size, and for writes that are done when they
// return. Without a cartridge the first cannot be; without the right to do it the
// second, which aligned memory makes sure of too.
func (d *Device) configure() error {
	if err := d.operate(opOptions, clearWriteBehind); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s: switch write-behind off: %w", d.path, err)
	}
	general, err := d.general()
	if err == nil && general&statusOnline != 0 {
		err = d.operate(opBlockSize, 0)
	}
	if err != nil {
		return fmt.Errorf("%s: set blocks of any size: %w", d.path, err)
	}
	return nil
}

// Close lets go of the device.
func (d *Device) Close() error {
	defer d.free()
	if d.fd < 0 {
		return nil
	}
	d.idle()
	fd := d.fd
	d.fd = -1
	return unix.Close(fd)
}

// idle makes the driver forget that it was writing, before it adds a filemark of its
// own. When that fails, the driver knows of a reset and adds none.
func (d *Device) idle() { _ = d.operate(opUnlock, 1) }

// reopen has the driver look at the cartridge again.
func (d *Device) reopen() error {
	if d.fd >= 0 {
		d.idle()
		fd := d.fd
		d.fd = -1
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("close %s: %w", d.path, err)
		}
	}
	return d.open()
}

// Status tells what the driver knows, and has it look again if it knows of no
// cartridge.
func (d *Device) Status() (drive.Status, error) {
	general, err := d.general()
	if err != nil || d.stale || general&statusOnline == 0 {
		if err := d.reopen(); err != nil {
			return drive.Status{}, err
		}
		if general, err = d.general(); err != nil {
			return drive.Status{}, d.failed(err)
		}
	}
	return drive.Status{Loaded: general&statusOnline != 0, WriteProtected: general&statusProtected != 0}, nil
}

// Load threads the cartridge.
func (d *Device) Load() error {
	if err := d.again(opLoad, 1); err != nil {
		return d.withoutMedium(err)
	}
	if err := d.reopen(); err != nil {
		return err
	}
	// The driver still knows what it met on the cartridge before, and would refuse to
	// read where that one ended.
	return d.Rewind()
}

// withoutMedium makes ErrNoMedium of an error if there is no cartridge.
func (d *Device) withoutMedium(err error) error {
	if status, statusErr := d.Status(); statusErr == nil && !status.Loaded {
		return fmt.Errorf("%w (%w)", drive.ErrNoMedium, err)
	}
	return err
}

// Unload gives the cartridge out.
func (d *Device) Unload() error { return d.again(opOffline, 1) }

// Rewind moves to object 0.
func (d *Device) Rewind() error { return d.again(opRewind, 1) }

// SpaceEOD moves to the end of data.
func (d *Device) SpaceEOD() error { return d.again(opEnd, 1) }

// Locate moves to an object.
func (d *Device) Locate(object int64) error {
	if object > math.MaxInt32 {
		return fmt.Errorf("locate object %d: %w", object, drive.ErrUnsupported)
	}
	return d.beyond(d.again(opSeek, int32(object)))
}

// SpaceFilemarks moves over filemarks.
func (d *Device) SpaceFilemarks(n int) error {
	op := int16(opForwardFiles)
	if n < 0 {
		op, n = opBackwardFiles, -n
	}
	if n > math.MaxInt32 {
		return fmt.Errorf("space %d filemarks: %w", n, drive.ErrUnsupported)
	}
	d.idle()
	err := d.failed(d.operate(op, int32(n)))
	if op == opForwardFiles {
		err = d.beyond(err)
	}
	return err
}

// again moves to a place that does not depend on where the tape is; once more if the
// first was answered by word of a reset or of a new cartridge.
func (d *Device) again(op int16, count int32) error {
	d.idle()
	err := d.operate(op, count)
	if errors.Is(err, unix.EIO) {
		d.idle()
		err = d.operate(op, count)
	}
	return d.failed(err)
}

// beyond makes ErrEndOfData of an error if the tape stands at the end of data.
func (d *Device) beyond(err error) error {
	if errors.Is(err, unix.EIO) && d.atEnd() {
		return fmt.Errorf("%w (%w)", drive.ErrEndOfData, err)
	}
	return err
}

// atEnd reports whether the tape stands at the end of data, and moves it there.
func (d *Device) atEnd() bool {
	here, err := d.where()
	if err != nil || d.operate(opEnd, 1) != nil {
		return false
	}
	end, err := d.where()
	return err == nil && here == end
}

// Position asks the drive.
func (d *Device) Position() (int64, error) {
	object, err := d.where()
	return object, d.failed(err)
}

// failed is what an error of a call means that has no better meaning of its own.
func (d *Device) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOMEDIUM):
		return drive.ErrNoMedium
	}
	d.stale = true
	return fmt.Errorf("%w (%w)", drive.ErrPositionLost, err)
}
