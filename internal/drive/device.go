package drive

import "capstan"

// DefaultBlock is the block size that works with host adapters that were met: a host
// with LTO-9 refused 512 KiB, and others refuse 1 or 2 MiB.
const DefaultBlock = 256 << 10

// Device is a bare tape device. Its methods block as long as the device does and are
// called from one goroutine at a time.
type Device interface {
	Medium
	Positioner
	Transfer
	Meter
	// Close lets go of the device and writes nothing more. It is called once.
	Close() error
}

// Medium is what a device does with its cartridge.
type Medium interface {
	// Status asks for the cartridge without waiting for one.
	Status() (Status, error)
	// Load makes the cartridge ready that lies in the drive; it stands at object 0.
	Load() error
	// Unload rewinds and takes the cartridge out.
	Unload() error
}

// Positioner moves the tape. Failed moves leave it anywhere.
type Positioner interface {
	// Rewind moves to object 0.
	Rewind() error
	// Locate moves to an object, or fails; beyond the end of data it fails.
	Locate(object int64) error
	// SpaceFilemarks moves over n filemarks, to behind the last one; with a negative
	// n backwards, to before the last one.
	SpaceFilemarks(n int) error
	// SpaceEOD moves to the end of data.
	SpaceEOD() error
	// Position asks the device which object comes next. It does not move the tape.
	Position() (object int64, err error)
}

// Transfer moves data. Only the outcomes of this package mean that the position is
// known after a failure.
type Transfer interface {
	// WriteBlock writes p, whole or not at all, as one block. The device may still hold
	// it in its buffer on return. ErrEarlyWarning means that it was written.
	WriteBlock(p []byte) error
	// WriteFilemarks writes n filemarks, n at least 1. With Sync it returns when all
	// that was written lies on the tape.
	WriteFilemarks(n int, flush Flush) error
	// ReadBlock reads the next block into p, which must have room for it, and gives
	// its length. A filemark is ErrFilemark.
	ReadBlock(p []byte) (int, error)
}

// Meter tells what a device knows of itself and of the cartridge.
type Meter interface {
	// Limits are those of the device; the host adapter's may be narrower.
	Limits() (Limits, error)
	// Capacity asks for the room on the cartridge.
	Capacity() (Capacity, error)
	// Alerts asks what the drive complains about. Asking clears the flags.
	Alerts() ([]Alert, error)
}

// Flush says whether filemarks wait for the tape.
type Flush bool

// Filemarks that are written to the tape before the call returns, with everything
// before them, and those that may stay in the drive's buffer.
const (
	Sync     Flush = true
	Buffered Flush = false
)

// Status is what is seen of a drive without moving anything.
type Status struct {
	Loaded         bool // a cartridge is there and ready
	WriteProtected bool // of the loaded cartridge
}

// Limits are the sizes of blocks in bytes that a device takes; Max is 0 if unknown.
type Limits struct{ Min, Max int }

// Capacity is the room on a cartridge, as the drive tells it: uncompressed, in whole
// MiB, and without what is still in its buffer.
type Capacity struct{ Remaining, Total capstan.Bytes }

// Alert is a TapeAlert flag, 1 to 64 (SSC-3, annex A).
type Alert int

// The alerts that something is done about.
const (
	AlertMedia       Alert = 4  // the cartridge can no longer be trusted
	AlertReadFailure Alert = 5  // the tape or the drive is damaged
	AlertWriteFail   Alert = 6  // the same, while writing
	AlertNotData     Alert = 14 // the cartridge holds no data tape
	AlertCleanNow    Alert = 20 // the drive needs cleaning before anything else
	AlertCleanSoon   Alert = 21 // the drive is due for cleaning
	AlertExpired     Alert = 22 // the cleaning cartridge is used up
)
