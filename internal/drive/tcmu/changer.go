//go:build linux

package tcmu

import (
	"encoding/binary"
	"errors"

	"capstan/internal/drive"
	"capstan/internal/drive/emulator"
)

// Operation codes of changers (SMC-3).
const (
	opMoveMedium    = 0xA5
	opElementStatus = 0xB8
)

// Changer makes a library of the emulator a SCSI target (device type 8).
type Changer struct {
	Library *emulator.Library
	Serial  string
	// attended is set when the first host has heard that the library was switched on.
	attended bool
}

// Execute carries a command out.
func (c *Changer) Execute(cdb, data []byte) (int, *emulator.Sense) {
	if cdb[0] == opInquiry {
		return inquiry(cdb, data, 0x08, "LIBRARY-EMU", c.Serial)
	}
	if !c.attended && cdb[0] != opTestReady {
		c.attended = true
		return 0, &emulator.Sense{Key: emulator.UnitAttention, Code: 0x2900}
	}
	switch cdb[0] {
	case opTestReady:
		return 0, nil
	case opElementStatus:
		return c.elements(cdb, data)
	case opMoveMedium:
		from, to := binary.BigEndian.Uint16(cdb[4:]), binary.BigEndian.Uint16(cdb[6:])
		return 0, refusal(c.Library.Move(drive.Address(from), drive.Address(to)))
	}
	return 0, illegal(unknownCommand)
}

// refusal is the sense of a move that was not made.
func refusal(err error) *emulator.Sense {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, drive.ErrElementFull):
		return illegal(0x3B0D)
	case errors.Is(err, drive.ErrElementEmpty):
		return illegal(0x3B0E)
	case errors.Is(err, drive.ErrElementLocked):
		return illegal(0x5302)
	}
	return illegal(0x2101) // invalid element address
}

// Sizes in READ ELEMENT STATUS.
const (
	tagBytes        = 36
	descriptorBytes = 12 + tagBytes + 4
)

// elements answers READ ELEMENT STATUS with one page for each kind.
func (c *Changer) elements(cdb, data []byte) (int, *emulator.Sense) {
	all, err := c.Library.Inventory()
	if err != nil {
		return 0, &emulator.Sense{Key: emulator.HardwareError}
	}
	kind := drive.ElementKind(cdb[1] & 0x0F)
	start, count := binary.BigEndian.Uint16(cdb[2:]), int(binary.BigEndian.Uint16(cdb[4:]))
	report := make([]byte, 8)
	found := 0
	for of := drive.TransportElement; of <= drive.DriveElement; of++ {
		var page []byte
		for _, e := range all {
			if e.Kind != of || (kind != 0 && kind != of) || uint16(e.Address) < start || found == count {
				continue
			}
			if found == 0 {
				binary.BigEndian.PutUint16(report, uint16(e.Address))
			}
			found++
			page = append(page, describe(e)...)
		}
		if len(page) > 0 {
			report = append(report, byte(of), 0x80, 0, descriptorBytes, 0, byte(len(page)>>16), byte(len(page)>>8), byte(len(page)))
			report = append(report, page...)
		}
	}
	binary.BigEndian.PutUint16(report[2:], uint16(found))
	binary.BigEndian.PutUint32(report[4:], uint32(len(report)-8))
	return answer(data, uint24(cdb[7:]), report), nil
}

// describe is the descriptor of one element, with its volume tag.
func describe(e drive.Element) []byte {
	b := make([]byte, descriptorBytes)
	binary.BigEndian.PutUint16(b, uint16(e.Address))
	if e.Full {
		b[2] |= 0x01
	}
	if e.Accessible {
		b[2] |= 0x08
	}
	if e.Problem != 0 {
		b[2] |= 0x04
		binary.BigEndian.PutUint16(b[4:], e.Problem)
	}
	if e.Full && e.Barcode != "" {
		copy(b[12:], (e.Barcode + "                                ")[:32])
	}
	return b
}
