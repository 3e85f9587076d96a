package emulator

import (
	"errors"
	"io"
)

// Write writes a block.
func (d *Drive) Write(p []byte) *Sense {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enterReady(OpWrite); sense != nil {
		return sense
	}
	if len(p) > d.maxBlock {
		return &Sense{Key: IllegalRequest, Code: codeBadField}
	}
	return d.append(p, int64(len(p)), size(len(p)))
}

// WriteMarks writes n filemarks; unless they are buffered, all that was written is
// durable when it returns.
func (d *Drive) WriteMarks(n int, buffered bool) *Sense {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enterReady(OpMark); sense != nil {
		return sense
	}
	var warning *Sense
	for left := n; left > 0; left-- {
		warning = d.append(nil, int64(left), word)
		if warning != nil && (warning.Key != NoSense || warning.Residue > 0) {
			return warning
		}
	}
	if buffered {
		return warning
	}
	if err := d.cartridge.sync(); err != nil {
		return internal()
	}
	return warning
}

// append writes an object at the position and drops all behind it. left is the
// residue if it finds no room.
func (d *Drive) append(p []byte, left, bytes int64) *Sense {
	c := d.cartridge
	if c.WriteProtected {
		return &Sense{Key: DataProtect, Code: codeProtected}
	}
	at, err := c.tape.offset(d.position)
	if err != nil {
		return internal()
	}
	fits, warned := c.room(at, bytes)
	if !fits {
		return &Sense{Key: VolumeOverflow, Code: codeEndOfMedium, EOM: true, Residue: left, Valid: true}
	}
	if err := c.tape.cut(d.position); err != nil {
		return internal()
	}
	c.synced = min(c.synced, d.position)
	if err := c.tape.append(p, false); err != nil {
		return internal()
	}
	d.position++
	if warned {
		return &Sense{EOM: true, Code: codeEndOfMedium, Valid: true}
	}
	return nil
}

// Read reads the next block into p and gives the bytes that were put there. A block
// that is longer than p is passed all the same.
func (d *Drive) Read(p []byte) (int, *Sense) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sense := d.enterReady(OpRead); sense != nil {
		return 0, sense
	}
	if len(p) > d.maxBlock {
		return 0, &Sense{Key: IllegalRequest, Code: codeBadField}
	}
	want := int64(len(p))
	o, err := d.cartridge.tape.find(d.position)
	switch {
	case errors.Is(err, io.EOF) && d.position == d.cartridge.tape.count:
		return 0, &Sense{Key: BlankCheck, Code: codeEndOfData, Residue: want, Valid: true}
	case err != nil:
		return 0, internal()
	}
	d.position++
	if o.mark() {
		return 0, &Sense{Filemark: true, Code: codeFilemark, Residue: want, Valid: true}
	}
	if o.bad {
		return 0, &Sense{Key: MediumError, Code: codeReadError, Residue: want, Valid: true}
	}
	if err := d.cartridge.tape.read(o, p); err != nil {
		return 0, internal()
	}
	if o.length != len(p) {
		return min(o.length, len(p)), &Sense{ILI: true, Residue: want - int64(o.length), Valid: true}
	}
	return len(p), nil
}
