package emulator

import (
	"errors"
	"io"
	"sync"
)

// Drive is the core: a drive that answers commands as SCSI has them. A nil Sense is
// "done, nothing to say".
type Drive struct {
	mu        sync.Mutex
	cartridge *Cartridge // nil: none
	ready     bool       // the cartridge is threaded
	position  int64
	// attention is the code of the unit attention that the next command is answered
	// with instead of being carried out; 0 is none.
	attention uint16
	maxBlock  int
	alerts    [65]bool
	faults    []*Fault
	log       []string
	port      port
}

// NewDrive gives an empty drive.
func NewDrive() *Drive { return &Drive{maxBlock: MaxBlock} }

// Insert puts a cartridge into the drive and threads it, as a person or a robot
// does. What was in the drive is out.
func (d *Drive) Insert(c *Cartridge) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cartridge, d.ready, d.position, d.attention = c, true, 0, codeMediumChange
	if c.Cleaning {
		d.ready = false
		d.alerts[20], d.alerts[21] = false, false
	}
}

// Remove takes the cartridge out; nil if there is none.
func (d *Drive) Remove() *Cartridge {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.cartridge
	d.cartridge, d.ready, d.position = nil, false, 0
	return c
}

// Cartridge is what lies in the drive, or nil; ejected reports that the robot can
// take it.
func (d *Drive) Cartridge() (c *Cartridge, ejected bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cartridge, !d.ready
}

// enter begins a command that needs nothing but the drive: it reports what is
// pending, and injects faults. The caller holds the lock, which a hang lets go of.
func (d *Drive) enter(op Op) *Sense {
	d.log = append(d.log[max(0, len(d.log)-logged):], string(op))
	if sense := d.attend(); sense != nil {
		return sense
	}
	return d.inject(op)
}

// logged is the number of commands that are remembered.
const logged = 64

// attend reports a pending unit attention, once.
func (d *Drive) attend() *Sense {
	if d.attention == 0 {
		return nil
	}
	code := d.attention
	d.attention = 0
	return &Sense{Key: UnitAttention, Code: code}
}

// enterReady begins a command that needs a cartridge.
func (d *Drive) enterReady(op Op) *Sense {
	if sense := d.enter(op); sense != nil {
		return sense
	}
	if !d.ready {
		return &Sense{Key: NotReady, Code: codeNoMedium}
	}
	return nil
}

// TestReady reports whether a cartridge is ready.
func (d *Drive) TestReady() *Sense {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.enterReady(OpTest)
}

// Load threads the cartridge that lies in the drive, and rewinds it.
func (d *Drive) Load() *Sense {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enter(OpLoad); sense != nil {
		return sense
	}
	if d.cartridge == nil || d.cartridge.Cleaning {
		return &Sense{Key: NotReady, Code: codeNoMedium}
	}
	d.ready, d.position = true, 0
	return nil
}

// Unload writes out what is buffered, rewinds and unthreads; the cartridge stays in
// the mouth of the drive.
func (d *Drive) Unload() *Sense {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enter(OpUnload); sense != nil {
		return sense
	}
	if d.ready {
		if err := d.cartridge.sync(); err != nil {
			return internal()
		}
	}
	d.ready, d.position = false, 0
	return nil
}

// WriteProtected reports the switch of the loaded cartridge.
func (d *Drive) WriteProtected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ready && d.cartridge.WriteProtected
}

// Rewind writes out what is buffered and moves to object 0.
func (d *Drive) Rewind() *Sense {
	return d.move(OpRewind, func() *Sense {
		d.position = 0
		return nil
	})
}

// Locate moves to an object; beyond the end of data it stops there.
func (d *Drive) Locate(object int64) *Sense {
	return d.move(OpLocate, func() *Sense {
		d.position = min(object, d.cartridge.tape.count)
		if d.position < object {
			return &Sense{Key: BlankCheck, Code: codeEndOfData}
		}
		return nil
	})
}

// SpaceEnd moves to the end of data.
func (d *Drive) SpaceEnd() *Sense {
	return d.move(OpSpace, func() *Sense {
		d.position = d.cartridge.tape.count
		return nil
	})
}

// Space moves over n blocks, or with marks set over n filemarks; backwards with a
// negative n. Blocks are counted up to the next filemark, behind which it stops.
func (d *Drive) Space(n int64, marks bool) *Sense {
	return d.move(OpSpace, func() *Sense { return d.space(n, marks) })
}

func (d *Drive) space(n int64, marks bool) *Sense {
	step := int64(1)
	if n < 0 {
		step = -1
	}
	for n != 0 {
		if step < 0 && d.position == 0 {
			return &Sense{EOM: true, Code: codeBeginning, Residue: -n, Valid: true}
		}
		i := d.position
		if step < 0 {
			i--
		}
		o, err := d.cartridge.tape.find(i)
		switch {
		case errors.Is(err, io.EOF) && i == d.cartridge.tape.count:
			return &Sense{Key: BlankCheck, Code: codeEndOfData, Residue: n, Valid: true}
		case err != nil:
			return internal()
		}
		d.position += step
		if o.mark() && !marks {
			return &Sense{Filemark: true, Code: codeFilemark, Residue: max(n, -n), Valid: true}
		}
		if o.mark() == marks {
			n -= step
		}
	}
	return nil
}

// move carries out a command that moves the tape; what is buffered is written first.
func (d *Drive) move(op Op, run func() *Sense) *Sense {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enterReady(op); sense != nil {
		return sense
	}
	if d.cartridge.synced != d.cartridge.tape.count {
		if err := d.cartridge.sync(); err != nil {
			return internal()
		}
	}
	return run()
}

// Position gives the object that comes next.
func (d *Drive) Position() (int64, *Sense) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enterReady(OpPosition); sense != nil {
		return 0, sense
	}
	return d.position, nil
}

// Room gives the bytes that the cartridge has left behind its end of data, and in
// all.
func (d *Drive) Room() (left, total int64, sense *Sense) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enterReady(OpLog); sense != nil {
		return 0, 0, sense
	}
	total = int64(d.cartridge.Capacity)
	return max(0, total-d.cartridge.tape.end), total, nil
}

// MaxBlock is the largest block that the drive says it takes: the format's, since
// nothing tells a host of the limits of its adapter.
func (d *Drive) MaxBlock() int { return MaxBlock }

// Alerts gives the TapeAlert flags that are set, and clears them.
func (d *Drive) Alerts() (flags [65]bool, sense *Sense) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enter(OpLog); sense != nil {
		return flags, sense
	}
	flags, d.alerts = d.alerts, [65]bool{}
	return flags, nil
}

// LimitBlocks sets the largest block in bytes that gets through, as a host adapter
// does; 0 is MaxBlock.
func (d *Drive) LimitBlocks(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n == 0 {
		n = MaxBlock
	}
	d.maxBlock = n
}
