package emulator

import (
	"errors"
	"fmt"
	"sync"

	"capstan"
	"capstan/internal/drive"
)

// Device is the core as a bare device in this process, without a driver between.
type Device struct {
	core *Drive
	port *port
}

// port admits one opener at a time.
type port struct {
	mu   sync.Mutex
	open bool
}

// Device opens the drive; while it is open a second one is drive.ErrBusy.
func (d *Drive) Device() (*Device, error) {
	d.port.mu.Lock()
	defer d.port.mu.Unlock()
	if d.port.open {
		return nil, drive.ErrBusy
	}
	d.port.open = true
	return &Device{core: d, port: &d.port}, nil
}

// Close lets the next one open the drive.
func (d *Device) Close() error {
	d.port.mu.Lock()
	defer d.port.mu.Unlock()
	d.port.open = false
	return nil
}

// Status looks at the drive without a command, so that nothing is taken from the one
// that is to hear of a reset.
func (d *Device) Status() (drive.Status, error) {
	_, ejected := d.core.Cartridge()
	return drive.Status{Loaded: !ejected, WriteProtected: d.core.WriteProtected()}, nil
}

// attentions is how many unit attentions may be pending.
const attentions = 4

// again repeats a command that moves the tape while it is answered by unit attention:
// where the tape stood does not matter then.
func again(command func() *Sense) error {
	sense := command()
	for range attentions {
		if sense == nil || sense.Key != UnitAttention {
			break
		}
		sense = command()
	}
	return outcome(sense)
}

// Load threads the cartridge.
func (d *Device) Load() error { return again(d.core.Load) }

// Unload gives the cartridge out.
func (d *Device) Unload() error { return again(d.core.Unload) }

// Rewind moves to object 0.
func (d *Device) Rewind() error { return again(d.core.Rewind) }

// Locate moves to an object.
func (d *Device) Locate(object int64) error {
	return again(func() *Sense { return d.core.Locate(object) })
}

// SpaceEOD moves to the end of data.
func (d *Device) SpaceEOD() error { return again(d.core.SpaceEnd) }

// SpaceFilemarks moves over filemarks.
func (d *Device) SpaceFilemarks(n int) error { return outcome(d.core.Space(int64(n), true)) }

// Position gives the next object.
func (d *Device) Position() (int64, error) {
	object, sense := d.core.Position()
	return object, outcome(sense)
}

// WriteBlock writes a block.
func (d *Device) WriteBlock(p []byte) error { return outcome(d.core.Write(p)) }

// WriteFilemarks writes filemarks.
func (d *Device) WriteFilemarks(n int, flush drive.Flush) error {
	err := outcome(d.core.WriteMarks(n, flush != drive.Sync))
	if errors.Is(err, drive.ErrEarlyWarning) {
		return nil // filemarks have their room behind the warning
	}
	return err
}

// ReadBlock reads a block.
func (d *Device) ReadBlock(p []byte) (int, error) {
	n, sense := d.core.Read(p)
	if sense != nil && sense.ILI && sense.Residue >= 0 {
		return n, nil
	}
	return n, outcome(sense)
}

// Limits are what the drive says.
func (d *Device) Limits() (drive.Limits, error) {
	return drive.Limits{Min: 1, Max: d.core.MaxBlock()}, nil
}

// Capacity is the room on the cartridge.
func (d *Device) Capacity() (drive.Capacity, error) {
	left, total, sense := d.core.Room()
	whole := func(n int64) capstan.Bytes { return capstan.Bytes(n) / capstan.MiB * capstan.MiB }
	return drive.Capacity{Remaining: whole(left), Total: whole(total)}, outcome(sense)
}

// Alerts gives the flags that are set.
func (d *Device) Alerts() ([]drive.Alert, error) {
	flags, sense := d.core.Alerts()
	var set []drive.Alert
	for i, is := range flags {
		if is {
			set = append(set, drive.Alert(i))
		}
	}
	return set, outcome(sense)
}

// outcome is what a sense means.
func outcome(sense *Sense) error {
	if sense == nil {
		return nil
	}
	switch {
	case sense.Key == VolumeOverflow:
		return drive.ErrEndOfTape
	case sense.Key == BlankCheck:
		return drive.ErrEndOfData
	case sense.Key == DataProtect:
		return drive.ErrWriteProtected
	case sense.Key == IllegalRequest:
		return drive.ErrBlockLimit
	case sense.Key == NotReady:
		return drive.ErrNoMedium
	case sense.Key == MediumError:
		return fmt.Errorf("%w: %w (%w)", drive.ErrPositionLost, drive.ErrMedium, sense)
	case sense.Key != NoSense:
		return fmt.Errorf("%w (%w)", drive.ErrPositionLost, sense)
	case sense.Filemark:
		return drive.ErrFilemark
	case sense.ILI:
		return drive.ErrBlockTooLarge
	case sense.Code == codeBeginning:
		return fmt.Errorf("%w: the beginning of the tape was reached", drive.ErrPositionLost)
	case sense.EOM:
		return drive.ErrEarlyWarning
	}
	return nil
}
