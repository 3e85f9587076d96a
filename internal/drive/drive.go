package drive

import (
	"context"
	"errors"
	"fmt"
)

// unknown is the position that nobody knows.
const unknown = -1

// Drive is a Device with the rules of this package. The zero value is not usable.
type Drive struct {
	name   string
	device Device
	owner  *owner
	// next is the object that the tape stands before, by our own count.
	next   int64
	closed bool
}

// New takes over a device, which Close closes. The position is unknown until it is
// asked for by Rewind, Locate or SpaceEOD. name is what errors call the drive.
func New(name string, device Device) *Drive {
	return &Drive{name: name, device: device, owner: newOwner(), next: unknown}
}

// Name is the name that the drive was given.
func (d *Drive) Name() string { return d.name }

// PositionKnown reports whether blocks can be read and written: nothing has put the
// position in doubt since it was last verified.
func (d *Drive) PositionKnown() bool { return d.next != unknown }

// Close lets go of the device. It writes nothing: blocks behind the last filemark end
// without one, and a reader rejects them. A device that hangs is left behind, and
// closed if it ever comes back; the error is HungError then. With a context that has
// ended the closing is begun, and not waited for.
func (d *Drive) Close(ctx context.Context) error {
	if d.closed {
		return nil
	}
	if still, _ := d.owner.hung(); still != nil {
		d.owner.end(func() { _ = d.device.Close() }) // nobody is there to be told
		d.closed = true
		return &HungError{Drive: d.name, Op: still.op, Since: still.since}
	}
	answer := make(chan error, 1)
	givenUp := d.owner.do(ctx, "close", func() { answer <- d.device.Close() })
	d.closed = true
	d.owner.end(nil)
	if givenUp {
		return fmt.Errorf("drive %s: close was given up: %w", d.name, context.Cause(ctx))
	}
	if err := <-answer; err != nil {
		return fmt.Errorf("drive %s: close: %w", d.name, err)
	}
	return nil
}

// call runs one method of the device. Errors name the drive and the call.
func (d *Drive) call(ctx context.Context, op string, run func() error) error {
	if d.closed {
		return ErrClosed
	}
	still, gone := d.owner.hung()
	if gone {
		d.next = unknown
	}
	if still != nil {
		return &HungError{Drive: d.name, Op: still.op, Since: still.since}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	answer := make(chan error, 1) // an answer that comes late has nobody to meet
	if d.owner.do(ctx, op, func() { answer <- run() }) {
		d.next = unknown
		return fmt.Errorf("drive %s: %s was given up: %w", d.name, op, context.Cause(ctx))
	}
	if err := <-answer; err != nil {
		return fmt.Errorf("drive %s: %s: %w", d.name, op, err)
	}
	return nil
}

// Status asks for the cartridge, without waiting for one.
func (d *Drive) Status(ctx context.Context) (Status, error) {
	status, err := ask(ctx, d, "status", d.device.Status)
	if err != nil || !status.Loaded {
		d.next = unknown
	}
	return status, err
}

// Load makes the cartridge ready that lies in the drive, and verifies that it stands
// at its beginning. The first load of an LTO-9 cartridge takes up to two hours.
func (d *Drive) Load(ctx context.Context) error {
	return d.moveTo(ctx, "load", 0, d.device.Load)
}

// Unload rewinds and takes the cartridge out.
func (d *Drive) Unload(ctx context.Context) error {
	d.next = unknown
	return d.call(ctx, "unload", d.device.Unload)
}

// Rewind moves to object 0 and has the drive confirm it.
func (d *Drive) Rewind(ctx context.Context) error {
	return d.moveTo(ctx, "rewind", 0, d.device.Rewind)
}

// Locate moves to an object and has the drive confirm it. An object beyond the end of
// data is ErrEndOfData; the position is lost then.
func (d *Drive) Locate(ctx context.Context, object int64) error {
	if object < 0 {
		return fmt.Errorf("drive %s: locate: there is no object %d", d.name, object)
	}
	return d.moveTo(ctx, "locate", object, func() error { return d.device.Locate(object) })
}

// SpaceEOD moves to the end of data and gives its object number.
func (d *Drive) SpaceEOD(ctx context.Context) (int64, error) {
	return d.move(ctx, "space to the end of data", d.device.SpaceEOD)
}

// SpaceFilemarks moves over n filemarks, from a known position: behind the n-th, or
// with a negative n backwards, to before it. It gives the object where the tape stands.
// With fewer filemarks left the error is ErrEndOfData or, backwards, one without class,
// and the position is lost.
func (d *Drive) SpaceFilemarks(ctx context.Context, n int) (int64, error) {
	if d.next == unknown {
		return 0, d.lost("space")
	}
	return d.move(ctx, "space", func() error { return d.device.SpaceFilemarks(n) })
}

// Position asks the drive where the tape stands. If that is not where our own count
// has it, the position is lost.
func (d *Drive) Position(ctx context.Context) (int64, error) {
	if d.next == unknown {
		return 0, d.lost("position")
	}
	return d.next, d.confirm(ctx, "position", d.next)
}

// move carries out a move and takes the drive's word for where it ended.
func (d *Drive) move(ctx context.Context, op string, run func() error) (int64, error) {
	d.next = unknown
	if err := d.call(ctx, op, run); err != nil {
		return 0, err
	}
	object, err := ask(ctx, d, op+", then position", d.device.Position)
	if err == nil {
		d.next = object
	}
	return object, err
}

// moveTo carries out a move that must end at an object.
func (d *Drive) moveTo(ctx context.Context, op string, object int64, run func() error) error {
	there, err := d.move(ctx, op, run)
	if err == nil && there != object {
		d.next = unknown
		err = fmt.Errorf("drive %s: %s: %w: it says that it stands at object %d, not %d", d.name, op, ErrPositionLost, there, object)
	}
	return err
}

// confirm asks the drive whether it stands before an object.
func (d *Drive) confirm(ctx context.Context, op string, object int64) error {
	there, err := ask(ctx, d, op, d.device.Position)
	if err == nil && there == object {
		return nil
	}
	d.next = unknown
	if err == nil {
		err = fmt.Errorf("drive %s: %s: it stands at object %d, and should at %d", d.name, op, there, object)
	}
	if errors.Is(err, ErrPositionLost) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrPositionLost, err)
}

// lost is the refusal of a call that needs a known position.
func (d *Drive) lost(op string) error {
	return fmt.Errorf("drive %s: %s: %w", d.name, op, ErrPositionLost)
}

// ask calls a method of the device that has an answer. A failure says nothing about
// the position unless it is ErrPositionLost.
func ask[T any](ctx context.Context, d *Drive, op string, method func() (T, error)) (T, error) {
	// Only an answer that was waited for is looked at: a late one has a variable of its own.
	type answered struct{ value T }
	result := new(answered)
	err := d.call(ctx, op, func() (err error) {
		value, err := method()
		result.value = value
		return err
	})
	if err != nil {
		var none T
		if errors.Is(err, ErrPositionLost) {
			d.next = unknown
		}
		return none, err
	}
	return result.value, nil
}
