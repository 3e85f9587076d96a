package drive

import (
	"context"
	"errors"
	"fmt"
)

// WriteBlock writes p as one block. nil and ErrEarlyWarning mean that it was written;
// with ErrEndOfTape it was not, and the position is known. What is written is durable
// only after a synchronous filemark. p is not kept, except by a call that was given up.
func (d *Drive) WriteBlock(ctx context.Context, p []byte) error {
	if len(p) == 0 {
		return fmt.Errorf("drive %s: write: a block has at least one byte", d.name)
	}
	if d.next == unknown {
		return d.lost("write")
	}
	err := d.call(ctx, "write", func() error { return d.device.WriteBlock(p) })
	d.advance(err, 1, err == nil || errors.Is(err, ErrEarlyWarning))
	return err
}

// WriteFilemarks writes n filemarks, at least one. With Sync it returns nil only when
// all that was written lies on the tape and the drive stands where our count of it
// says; else the position is lost, and what was written since the last synchronous
// filemark is in doubt.
func (d *Drive) WriteFilemarks(ctx context.Context, n int, flush Flush) error {
	if n < 1 {
		return fmt.Errorf("drive %s: write filemarks: %d is none", d.name, n)
	}
	if d.next == unknown {
		return d.lost("write filemarks")
	}
	err := d.call(ctx, "write filemarks", func() error { return d.device.WriteFilemarks(n, flush) })
	d.advance(err, int64(n), err == nil)
	if errors.Is(err, ErrEndOfTape) {
		d.next = unknown // some of the n may have found room
	}
	if err != nil || !bool(flush) {
		return err
	}
	return d.confirm(ctx, "position after filemarks", d.next)
}

// ReadBlock reads the next block into p and gives its length. A filemark is
// ErrFilemark, the end ErrEndOfData, and a block that is larger than p
// ErrBlockTooLarge: the tape stands behind it then. A medium error loses the position.
func (d *Drive) ReadBlock(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, fmt.Errorf("drive %s: read: the buffer has no room", d.name)
	}
	if d.next == unknown {
		return 0, d.lost("read")
	}
	n, err := ask(ctx, d, "read", func() (int, error) { return d.device.ReadBlock(p) })
	moved := err == nil || errors.Is(err, ErrFilemark) || errors.Is(err, ErrBlockTooLarge)
	d.advance(err, 1, moved)
	if errors.Is(err, ErrEndOfData) && d.next != unknown {
		// Some devices cannot tell the end of data from a reset on a blank tape.
		if doubt := d.confirm(ctx, "position at the end of data", d.next); doubt != nil {
			return 0, doubt
		}
	}
	return n, err
}

// advance keeps the count after a transfer of n objects.
func (d *Drive) advance(err error, n int64, moved bool) {
	switch {
	case d.next == unknown: // a call that was given up
	case !harmless(err):
		d.next = unknown
	case moved:
		d.next += n
	}
}

// Limits are the block sizes that the device takes.
func (d *Drive) Limits(ctx context.Context) (Limits, error) {
	return ask(ctx, d, "limits", d.device.Limits)
}

// Capacity asks for the room on the cartridge.
func (d *Drive) Capacity(ctx context.Context) (Capacity, error) {
	return ask(ctx, d, "capacity", d.device.Capacity)
}

// Alerts asks what the drive complains about; that clears the flags.
func (d *Drive) Alerts(ctx context.Context) ([]Alert, error) {
	return ask(ctx, d, "alerts", d.device.Alerts)
}
