//go:build linux

package tcmu

import (
	"encoding/binary"

	"capstan/internal/drive/emulator"
)

// Target answers SCSI commands, one at a time.
type Target interface {
	// Execute carries a command out. data is what the host sends, or for commands that
	// answer the room for the answer, of which the first n bytes are used.
	Execute(cdb, data []byte) (n int, sense *emulator.Sense)
}

// Status bytes (SAM-5).
const (
	statusGood  = 0x00
	statusCheck = 0x02
)

// senseBytes is the size of the sense data that a target gives.
const senseBytes = 18

// encode gives the sense in fixed format (SPC-4, 4.5.3).
func encode(s *emulator.Sense) [senseBytes]byte {
	var b [senseBytes]byte
	b[0] = 0x70
	if s.Valid {
		b[0] |= 0x80
		binary.BigEndian.PutUint32(b[3:], uint32(int32(s.Residue)))
	}
	b[2] = byte(s.Key)
	for i, set := range []bool{s.ILI, s.EOM, s.Filemark} {
		if set {
			b[2] |= 0x20 << i
		}
	}
	b[7] = senseBytes - 8
	binary.BigEndian.PutUint16(b[12:], s.Code)
	return b
}

// illegal answers a command that the target does not know, or a field of it.
func illegal(code uint16) *emulator.Sense {
	return &emulator.Sense{Key: emulator.IllegalRequest, Code: code}
}

const (
	unknownCommand = 0x2000
	unknownField   = 0x2400
)

// answer copies as much of an answer as the host asked for.
func answer(data []byte, allocated int, content []byte) int {
	return copy(data[:min(len(data), allocated)], content)
}

// uint24 is a big-endian number of three bytes.
func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// int24 is a signed one.
func int24(b []byte) int64 { return int64(int32(uint32(uint24(b))<<8) >> 8) }

// inquiry answers INQUIRY (SPC-4, 6.4): standard data, and the pages for the serial
// number and the identification, from which udev makes stable names.
func inquiry(cdb, data []byte, kind byte, product, serial string) (int, *emulator.Sense) {
	room := int(binary.BigEndian.Uint16(cdb[3:]))
	if cdb[1]&1 == 0 {
		b := make([]byte, 36)
		copy(b, []byte{kind, 0x80, 0x06, 0x02, 31, 0, 0, 0x02}) // removable, SPC-4
		copy(b[8:], []byte("CAPSTAN         "))
		copy(b[8:16], "CAPSTAN ")
		copy(b[16:32], []byte(product + "                ")[:16])
		copy(b[32:], "0001")
		return answer(data, room, b), nil
	}
	var page []byte
	switch cdb[2] {
	case 0x00:
		page = []byte{0x00, 0x80, 0x83}
	case 0x80:
		page = []byte(serial)
	case 0x83:
		id := "CAPSTAN " + serial
		page = append([]byte{0x02, 0x01, 0, byte(len(id))}, id...)
	default:
		return 0, illegal(unknownField)
	}
	b := append([]byte{kind, cdb[2], 0, byte(len(page))}, page...)
	return answer(data, room, b), nil
}
