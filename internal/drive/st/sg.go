//go:build linux && (amd64 || arm64)

package st

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"capstan"
	"capstan/internal/drive"
)

// sgIO is the ioctl that sends a SCSI command (<scsi/sg.h>).
const sgIO = 0x2285

// sgHeader is its argument, on machines with 64-bit pointers.
type sgHeader struct {
	id, direction        int32
	cdbLength, senseRoom uint8
	pieces               uint16
	length               uint32
	data, cdb, sense     unsafe.Pointer
	timeout, flags       uint32
	_                    [8]byte // pack_id, padding
	_                    unsafe.Pointer
	status, _, _         uint8
	senseLength          uint8
	host, driver         uint16
	residue              int32
	duration, info       uint32
}

const (
	fromDevice = -3
	noData     = -1
)

// CommandError is a SCSI command that was answered by more than "done".
type CommandError struct {
	Command byte
	Status  byte
	Host    uint16
	Key     byte   // sense key
	Code    uint16 // ASC and ASCQ
}

// Error names the command and the sense.
func (e *CommandError) Error() string {
	return fmt.Sprintf("SCSI command %02X: status %02X, host status %02X, sense key %X, code %04X", e.Command, e.Status, e.Host, e.Key, e.Code)
}

// Unwrap gives the outcome that it means.
func (e *CommandError) Unwrap() error {
	switch {
	case e.Key == 0x5 && e.Code == 0x3B0D:
		return drive.ErrElementFull
	case e.Key == 0x5 && e.Code == 0x3B0E:
		return drive.ErrElementEmpty
	case e.Key == 0x5 && e.Code>>8 == 0x53:
		return drive.ErrElementLocked
	case e.Key == 0x5:
		return drive.ErrUnsupported
	case e.Key == 0x2 && e.Code>>8 == 0x3A:
		return drive.ErrNoMedium
	}
	// Unit attention may be word of a reset, which nobody else will get.
	return drive.ErrPositionLost
}

// command sends a SCSI command and reads its answer into data, which may be empty.
// It gives the bytes that came.
func command(fd int, cdb, data []byte, timeout uint32) (int, error) {
	var sense [64]byte
	header := sgHeader{
		id: 'S', direction: noData, cdbLength: uint8(len(cdb)), senseRoom: uint8(len(sense)),
		cdb: unsafe.Pointer(&cdb[0]), sense: unsafe.Pointer(&sense[0]), timeout: timeout,
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&cdb[0])
	pin.Pin(&sense[0])
	if len(data) > 0 {
		pin.Pin(&data[0])
		header.direction, header.length, header.data = fromDevice, uint32(len(data)), unsafe.Pointer(&data[0])
	}
	if err := ioctl(fd, sgIO, unsafe.Pointer(&header)); err != nil {
		return 0, fmt.Errorf("SCSI command %02X: %w", cdb[0], err)
	}
	if header.status == 0 && header.host == 0 {
		return len(data) - int(header.residue), nil
	}
	failure := &CommandError{Command: cdb[0], Status: header.status, Host: header.host}
	switch got := sense[:header.senseLength]; {
	case len(got) >= 14 && got[0]&0x7E == 0x70: // fixed format
		failure.Key, failure.Code = got[2]&0x0F, binary.BigEndian.Uint16(got[12:])
	case len(got) >= 4 && got[0]&0x7E == 0x72: // descriptors
		failure.Key, failure.Code = got[1]&0x0F, binary.BigEndian.Uint16(got[2:])
	}
	return 0, failure
}

// quick is the time in milliseconds for commands that move nothing.
const quick = 60_000

// Limits are what the drive says (READ BLOCK LIMITS).
func (d *Device) Limits() (drive.Limits, error) {
	var b [6]byte
	n, err := command(d.fd, []byte{0x05, 0, 0, 0, 0, 0}, b[:], quick)
	if err != nil {
		return drive.Limits{}, err
	}
	if n < len(b) {
		return drive.Limits{}, fmt.Errorf("the drive gave %d bytes of its block limits: %w", n, drive.ErrUnsupported)
	}
	return drive.Limits{Min: int(binary.BigEndian.Uint16(b[4:])), Max: int(binary.BigEndian.Uint32(b[:]) & 0xFFFFFF)}, nil
}

// Log pages (SSC-3, and IBM's and HPE's LTO SCSI references).
const (
	pageAlerts   = 0x2E
	pageCapacity = 0x31
)

// Capacity reads log page 0x31: remaining and total room of the main partition, MiB.
func (d *Device) Capacity() (drive.Capacity, error) {
	page, err := d.logPage(pageCapacity)
	if err != nil {
		return drive.Capacity{}, err
	}
	mib := func(code uint16) capstan.Bytes { return capstan.Bytes(page[code]) * capstan.MiB }
	return drive.Capacity{Remaining: mib(1), Total: mib(3)}, nil
}

// Alerts reads log page 0x2E: flags 1 to 64. Reading clears them.
func (d *Device) Alerts() ([]drive.Alert, error) {
	page, err := d.logPage(pageAlerts)
	if err != nil {
		return nil, err
	}
	var set []drive.Alert
	for flag := uint16(1); flag <= 64; flag++ {
		if page[flag]&1 != 0 {
			set = append(set, drive.Alert(flag))
		}
	}
	return set, nil
}

// logPage reads a log page's current values; those of more than 8 bytes are left out.
func (d *Device) logPage(page byte) (map[uint16]uint64, error) {
	b := make([]byte, 4096)
	cdb := []byte{0x4D, 0, 0x40 | page, 0, 0, 0, 0, byte(len(b) >> 8), byte(len(b)), 0}
	n, err := command(d.fd, cdb, b, quick)
	if err != nil {
		return nil, err
	}
	return parseLog(page, b[:n])
}

// parseLog reads the parameters of a log page (SPC-4, 7.3).
func parseLog(page byte, b []byte) (map[uint16]uint64, error) {
	if len(b) < 4 || b[0]&0x3F != page {
		return nil, fmt.Errorf("the drive did not give log page %02X: %w", page, drive.ErrUnsupported)
	}
	values := map[uint16]uint64{}
	for b = b[4:min(len(b), 4+int(binary.BigEndian.Uint16(b[2:])))]; len(b) >= 4; {
		code, length := binary.BigEndian.Uint16(b), int(b[3])
		if b = b[4:]; len(b) < length {
			break // cut off
		}
		if length <= 8 {
			for _, digit := range b[:length] {
				values[code] = values[code]<<8 | uint64(digit)
			}
		}
		b = b[length:]
	}
	return values, nil
}
