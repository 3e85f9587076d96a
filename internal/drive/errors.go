package drive

import (
	"errors"
	"fmt"
	"time"
)

// The outcomes of a call beside success. A Device gives one of them, wrapped or not;
// any other error of its means that the position is unknown.
var (
	// ErrEarlyWarning reports that the block was written and the end of the tape is
	// near: there is room for a trailer and filemarks, no more.
	ErrEarlyWarning = errors.New("written, and the end of the tape is near")
	// ErrEndOfTape reports that the block or filemark was not written: the tape is full.
	ErrEndOfTape = errors.New("the tape is full")
	// ErrFilemark reports that a filemark was read; the tape stands behind it.
	ErrFilemark = errors.New("filemark")
	// ErrEndOfData reports that nothing was ever written here.
	ErrEndOfData = errors.New("end of data")
	// ErrBlockTooLarge reports a block that is larger than the buffer; the tape stands
	// behind it and nothing of it was kept.
	ErrBlockTooLarge = errors.New("the block on the tape is larger than the buffer")
	// ErrBlockLimit reports a size that the device or its host adapter does not
	// transfer; the tape was not moved.
	ErrBlockLimit = errors.New("blocks of this size cannot be transferred")
	// ErrNoMedium reports that no cartridge is loaded.
	ErrNoMedium = errors.New("no cartridge is loaded")
	// ErrWriteProtected reports that the cartridge must not be written; nothing was.
	ErrWriteProtected = errors.New("the cartridge is write-protected")
	// ErrPositionLost reports that nobody knows where the tape stands. Nothing was
	// written by this call, what was not synced before may be lost.
	ErrPositionLost = errors.New("the position on the tape is lost")
	// ErrMedium reports that the tape could not be read or written at this place.
	ErrMedium = errors.New("medium error")
	// ErrBusy reports that another process has the device open.
	ErrBusy = errors.New("the device is in use")
	// ErrUnsupported reports that the device has no such function.
	ErrUnsupported = errors.New("the device does not support this")
	// ErrElementLocked reports that the robot cannot get at the cartridge, since the
	// drive has not unloaded it; nothing was moved.
	ErrElementLocked = errors.New("the drive has not given the cartridge out")
	// ErrElementEmpty and ErrElementFull report that a cartridge was not moved: there is
	// none where it should be taken from, or one where it should be brought to.
	ErrElementEmpty = errors.New("there is no cartridge in the element")
	ErrElementFull  = errors.New("there is a cartridge in the element")
	// ErrClosed reports a call after Close.
	ErrClosed = errors.New("the drive is closed")
)

// HungError reports a call that was refused since an earlier one has been given up
// and has not come back from the device.
type HungError struct {
	Drive string
	Op    string    // the call that hangs
	Since time.Time // when it was begun
}

// Error names the drive, the call and when it began.
func (e *HungError) Error() string {
	return fmt.Sprintf("drive %s: %s has not come back since %s", e.Drive, e.Op, e.Since.Format(time.TimeOnly))
}

// Is makes a hung drive one whose position is lost.
func (*HungError) Is(target error) bool { return target == ErrPositionLost }

// harmless reports an outcome after which the tape stands where it is expected to:
// the call did nothing, or what it is documented to do.
func harmless(err error) bool {
	for _, known := range []error{
		ErrEarlyWarning, ErrEndOfTape, ErrFilemark, ErrEndOfData, ErrBlockTooLarge,
		ErrBlockLimit, ErrWriteProtected, ErrUnsupported,
	} {
		if errors.Is(err, known) {
			return !errors.Is(err, ErrPositionLost) && !errors.Is(err, ErrMedium)
		}
	}
	return err == nil
}
