//go:build linux && (amd64 || arm64)

package st

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"capstan/internal/drive"
)

// Changer is a robot behind a generic SCSI device.
type Changer struct {
	path string
	fd   int
}

// OpenChanger opens a changer by its generic node (/dev/sgN).
func OpenChanger(path string) (*Changer, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Changer{path: path, fd: fd}, nil
}

// Close lets go of the changer.
func (c *Changer) Close() error { return unix.Close(c.fd) }

const (
	moveTimeout   = 15 * 60_000 // milliseconds; a large robot on its way through all frames
	chunk         = 128         // elements asked for at once, so that no answer is large
	elementsRoom  = 64 << 10
	unitAttention = 0x6
	attentions    = 4 // how many may be pending
)

// send sends a command again while it is answered by unit attention, which says that
// it was not carried out.
func (c *Changer) send(cdb, data []byte, timeout uint32) (n int, err error) {
	for range attentions {
		n, err = command(c.fd, cdb, data, timeout)
		failure, ok := errors.AsType[*CommandError](err)
		if !ok || failure.Key != unitAttention {
			break
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.path, err)
	}
	return n, nil
}

// Move brings a cartridge from one element to another (MOVE MEDIUM).
func (c *Changer) Move(from, to drive.Address) error {
	cdb := make([]byte, 12)
	cdb[0] = 0xA5
	binary.BigEndian.PutUint16(cdb[4:], uint16(from))
	binary.BigEndian.PutUint16(cdb[6:], uint16(to))
	_, err := c.send(cdb, nil, moveTimeout)
	return err
}

// Inventory asks for all elements (READ ELEMENT STATUS), some at a time.
func (c *Changer) Inventory() ([]drive.Element, error) {
	var all []drive.Element
	for kind := drive.TransportElement; kind <= drive.DriveElement; kind++ {
		for start := 0; start <= 0xFFFF; {
			some, err := c.elements(kind, uint16(start))
			if err != nil {
				return nil, err
			}
			if len(some) == 0 {
				break
			}
			all = append(all, some...)
			start = int(some[len(some)-1].Address) + 1
		}
	}
	slices.SortFunc(all, func(a, b drive.Element) int { return int(a.Address) - int(b.Address) })
	return all, nil
}

// elements gives the first elements of a kind from an address on, in order.
func (c *Changer) elements(kind drive.ElementKind, start uint16) ([]drive.Element, error) {
	const withTags = 0x10
	cdb := make([]byte, 12)
	cdb[0], cdb[1] = 0xB8, withTags|byte(kind)
	binary.BigEndian.PutUint16(cdb[2:], start)
	binary.BigEndian.PutUint16(cdb[4:], chunk)
	cdb[7], cdb[8], cdb[9] = elementsRoom>>16, elementsRoom>>8&0xFF, elementsRoom&0xFF
	data := make([]byte, elementsRoom)
	n, err := c.send(cdb, data, quick)
	if err != nil {
		// Some robots refuse to be asked for what they do not have.
		if failure, ok := errors.AsType[*CommandError](err); ok && failure.Code == 0x2101 {
			return nil, nil
		}
		return nil, err
	}
	found, err := parseElements(data[:n])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	found = slices.DeleteFunc(found, func(e drive.Element) bool { return e.Kind != kind || uint16(e.Address) < start })
	slices.SortFunc(found, func(a, b drive.Element) int { return int(a.Address) - int(b.Address) })
	return found, nil
}

// errElements reports an answer that is not one of READ ELEMENT STATUS.
var errElements = errors.New("the changer's list of elements makes no sense")

// Parts of an element's descriptor (SMC-3, 6.11).
const (
	descriptorHead = 12
	tagLength      = 36
	tagText        = 32

	flagFull       = 0x01
	flagProblem    = 0x04
	flagAccessible = 0x08
)

// parseElements reads the report of READ ELEMENT STATUS; what is cut off at its end
// is left out.
func parseElements(b []byte) ([]drive.Element, error) {
	if len(b) < 8 {
		return nil, errElements
	}
	var all []drive.Element
	for b = b[8:min(len(b), 8+uint24(b[5:]))]; len(b) >= 8; {
		kind, tagged := drive.ElementKind(b[0]), b[1]&0x80 != 0
		size, bytes := int(binary.BigEndian.Uint16(b[2:])), uint24(b[5:])
		need := descriptorHead
		if tagged {
			need += tagLength
		}
		if size < need {
			return nil, errElements
		}
		page := b[8:min(len(b), 8+bytes)]
		b = b[8+len(page):]
		for ; len(page) >= size; page = page[size:] {
			all = append(all, parseElement(kind, tagged, page[:size]))
		}
	}
	return all, nil
}

func parseElement(kind drive.ElementKind, tagged bool, b []byte) drive.Element {
	e := drive.Element{
		Address: drive.Address(binary.BigEndian.Uint16(b)), Kind: kind,
		Full: b[2]&flagFull != 0, Accessible: b[2]&(flagFull|flagAccessible) == flagFull|flagAccessible,
	}
	if b[2]&flagProblem != 0 {
		e.Problem = binary.BigEndian.Uint16(b[4:])
	}
	if tagged && e.Full {
		e.Barcode = strings.TrimRight(string(b[descriptorHead:descriptorHead+tagText]), " \x00")
	}
	return e
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
