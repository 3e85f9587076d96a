package emulator

import "slices"

// Op is a kind of command, for faults and the log.
type Op string

// The kinds of commands.
const (
	OpAny      Op = "" // of a fault: whichever comes
	OpTest     Op = "test unit ready"
	OpLoad     Op = "load"
	OpUnload   Op = "unload"
	OpWrite    Op = "write"
	OpMark     Op = "write filemarks"
	OpRead     Op = "read"
	OpRewind   Op = "rewind"
	OpLocate   Op = "locate"
	OpSpace    Op = "space"
	OpPosition Op = "read position"
	OpLog      Op = "log sense"
)

// Kind is what goes wrong.
type Kind int

// The kinds of faults.
const (
	// BadSpot fails the command with a medium error; of a write, nothing was written.
	BadSpot Kind = iota
	// Reset fails the command, and leaves the tape at its beginning. What was buffered
	// is written.
	Reset
	// PowerCut is a reset that drops what was buffered since the last synchronous
	// filemark.
	PowerCut
	// Hang holds the command up until Release; it is carried out then.
	Hang
)

// Fault is something that goes wrong once. Its fields are not changed after Inject.
type Fault struct {
	Op   Op
	At   int64 // the position at which it happens, -1 for any
	Kind Kind

	drive *Drive
	fired bool
	met   chan struct{} // closed when it happens
	freed chan struct{} // closed by Release
}

// Inject adds a fault; it happens to the first command that it fits.
func (d *Drive) Inject(f Fault) *Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	injected := &Fault{Op: f.Op, At: f.At, Kind: f.Kind, drive: d, met: make(chan struct{}), freed: make(chan struct{})}
	d.faults = append(d.faults, injected)
	return injected
}

// Fired reports whether it has happened.
func (f *Fault) Fired() bool {
	f.drive.mu.Lock()
	defer f.drive.mu.Unlock()
	return f.fired
}

// Met is closed when it happens.
func (f *Fault) Met() <-chan struct{} { return f.met }

// Release lets a command go on that hangs, now or when it is met. It is called once.
func (f *Fault) Release() { close(f.freed) }

// Log gives the last commands, oldest first.
func (d *Drive) Log() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// Alert sets a TapeAlert flag, 1 to 64.
func (d *Drive) Alert(flag int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.alerts[flag] = true
}

// Reset leaves the tape at its beginning, with what was buffered written; the next
// command hears of it.
func (d *Drive) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restart()
}

// CutPower drops what is buffered, but for the first keep objects of it, and starts
// the drive again: the tape stands at its beginning.
func (d *Drive) CutPower(keep int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cutPower(keep)
}

func (d *Drive) cutPower(keep int64) error {
	if d.ready {
		c := d.cartridge
		if err := c.tape.cut(min(c.tape.count, c.synced+keep)); err != nil {
			return err
		}
		c.synced = c.tape.count
	}
	d.restart()
	return nil
}

// restart is what a reset leaves.
func (d *Drive) restart() { d.position, d.attention = 0, codeReset }

// inject makes the first fault happen that fits.
func (d *Drive) inject(op Op) *Sense {
	i := slices.IndexFunc(d.faults, func(f *Fault) bool {
		return (f.Op == OpAny || f.Op == op) && (f.At < 0 || f.At == d.position)
	})
	if i < 0 {
		return nil
	}
	f := d.faults[i]
	d.faults = slices.Delete(d.faults, i, i+1)
	f.fired = true
	close(f.met)
	switch f.Kind {
	case BadSpot:
		code := uint16(codeReadError)
		if op == OpWrite || op == OpMark {
			code = codeWriteError
		}
		return &Sense{Key: MediumError, Code: code}
	case Reset:
		d.restart()
		return d.attend()
	case PowerCut:
		if err := d.cutPower(0); err != nil {
			return internal()
		}
		return d.attend()
	case Hang:
		d.mu.Unlock()
		<-f.freed
		d.mu.Lock()
	}
	return nil
}

// Pending is the number of faults that have not happened yet.
func (d *Drive) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.faults)
}
