//go:build linux

package tcmu

import (
	"encoding/binary"

	"capstan/internal/drive/emulator"
)

// Operation codes (SPC-4, SSC-3, SMC-3).
const (
	opTestReady     = 0x00
	opRewind        = 0x01
	opRequestSense  = 0x03
	opBlockLimits   = 0x05
	opRead          = 0x08
	opWrite         = 0x0A
	opMarks         = 0x10
	opSpace         = 0x11
	opInquiry       = 0x12
	opModeSelect    = 0x15
	opModeSense     = 0x1A
	opLoad          = 0x1B
	opPreventRemove = 0x1E
	opLocate        = 0x2B
	opReadPosition  = 0x34
	opLogSense      = 0x4D
)

// Tape makes a drive of the emulator a SCSI target (device type 1).
type Tape struct {
	Core   *emulator.Drive
	Serial string
	// Blocks of one fixed size are not modelled: a host that sets a size is refused.
}

// Execute carries a command out.
func (t *Tape) Execute(cdb, data []byte) (int, *emulator.Sense) {
	switch cdb[0] {
	case opInquiry:
		return inquiry(cdb, data, 0x01, "ULTRIUM-EMU", t.Serial)
	case opRequestSense:
		none := encode(&emulator.Sense{})
		return answer(data, int(cdb[4]), none[:]), nil
	case opRead:
		if cdb[1]&1 != 0 {
			return 0, illegal(unknownField)
		}
		return t.Core.Read(data[:min(len(data), uint24(cdb[2:]))])
	case opBlockLimits:
		b := make([]byte, 6)
		binary.BigEndian.PutUint32(b, uint32(t.Core.MaxBlock()))
		b[5] = 1
		return answer(data, len(b), b), nil
	case opModeSense:
		return t.modeSense(cdb, data)
	case opReadPosition:
		return t.position(cdb, data)
	case opLogSense:
		return t.logSense(cdb, data)
	}
	return 0, t.act(cdb, data)
}

// act carries out a command that answers with nothing but its sense.
func (t *Tape) act(cdb, data []byte) *emulator.Sense {
	switch cdb[0] {
	case opTestReady:
		return t.Core.TestReady()
	case opPreventRemove:
		return nil
	case opModeSelect:
		// The only thing that is accepted is what is so anyway: blocks of any size.
		if len(data) >= 12 && uint24(data[9:]) != 0 {
			return illegal(unknownField)
		}
		return nil
	case opWrite:
		if cdb[1]&1 != 0 {
			return illegal(unknownField)
		}
		return t.Core.Write(data[:min(len(data), uint24(cdb[2:]))])
	case opMarks:
		return t.Core.WriteMarks(uint24(cdb[2:]), cdb[1]&1 != 0)
	case opRewind:
		return t.Core.Rewind()
	case opLocate:
		return t.Core.Locate(int64(binary.BigEndian.Uint32(cdb[3:])))
	case opLoad:
		if cdb[4]&1 != 0 {
			return t.Core.Load()
		}
		return t.Core.Unload()
	case opSpace:
		switch n := int24(cdb[2:]); cdb[1] & 0x0F {
		case 0:
			return t.Core.Space(n, false)
		case 1:
			return t.Core.Space(n, true)
		case 3:
			return t.Core.SpaceEnd()
		}
		return illegal(unknownField)
	}
	return illegal(unknownCommand)
}

// modeSense answers with the header and one block descriptor, whatever the page: the
// driver looks for write protection, the buffered mode and the size of blocks.
func (t *Tape) modeSense(cdb, data []byte) (int, *emulator.Sense) {
	b := []byte{11, 0, 0x10, 8, 0x5C, 0, 0, 0, 0, 0, 0, 0}
	if t.Core.WriteProtected() {
		b[2] |= 0x80
	}
	if page := cdb[2] & 0x3F; page != 0 && page != 0x3F {
		return 0, illegal(unknownField)
	}
	return answer(data, int(cdb[4]), b), nil
}

// position answers READ POSITION in its short form.
func (t *Tape) position(cdb, data []byte) (int, *emulator.Sense) {
	if cdb[1]&0x1F > 1 {
		return 0, illegal(unknownField)
	}
	object, sense := t.Core.Position()
	if sense != nil {
		return 0, sense
	}
	b := make([]byte, 20)
	if object == 0 {
		b[0] = 0x80
	}
	binary.BigEndian.PutUint32(b[4:], uint32(object))
	binary.BigEndian.PutUint32(b[8:], uint32(object))
	return answer(data, len(b), b), nil
}

// logSense answers with the pages for capacity (0x31, in MiB) and TapeAlert (0x2E).
func (t *Tape) logSense(cdb, data []byte) (int, *emulator.Sense) {
	page := cdb[2] & 0x3F
	b := []byte{page, 0, 0, 0}
	parameter := func(code uint16, value ...byte) {
		b = binary.BigEndian.AppendUint16(b, code)
		b = append(b, 0x40, byte(len(value)))
		b = append(b, value...)
	}
	switch page {
	case 0x31:
		left, total, sense := t.Core.Room()
		if sense != nil {
			return 0, sense
		}
		for i, n := range []int64{left, 0, total, 0} {
			parameter(uint16(i+1), binary.BigEndian.AppendUint32(nil, uint32(n>>20))...)
		}
	case 0x2E:
		flags, sense := t.Core.Alerts()
		if sense != nil {
			return 0, sense
		}
		for i, set := range flags[1:] {
			value := byte(0)
			if set {
				value = 1
			}
			parameter(uint16(i+1), value)
		}
	default:
		return 0, illegal(unknownField)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return answer(data, int(binary.BigEndian.Uint16(cdb[7:])), b), nil
}
