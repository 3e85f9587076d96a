package emulator

import (
	"fmt"
	"slices"
	"sync"

	"capstan/internal/drive"
)

// The addresses of a library's elements, as real ones often have them.
const (
	FirstHand  drive.Address = 1
	FirstMail  drive.Address = 16
	FirstDrive drive.Address = 256
	FirstSlot  drive.Address = 1000
)

// Library is a changer with its slots and drives. It may be used from several
// goroutines, and is a drive.Changer itself.
type Library struct {
	mu    sync.Mutex
	cells []*cell
}

// cell is an element; the cartridge of a drive lies in the drive.
type cell struct {
	address   drive.Address
	kind      drive.ElementKind
	drive     *Drive
	cartridge *Cartridge
}

// NewLibrary gives a library with drives, empty slots and mail slots.
func NewLibrary(drives []*Drive, slots, mail int) *Library {
	l := &Library{cells: []*cell{{address: FirstHand, kind: drive.TransportElement}}}
	for i := range mail {
		l.cells = append(l.cells, &cell{address: FirstMail + drive.Address(i), kind: drive.MailElement})
	}
	for i, d := range drives {
		l.cells = append(l.cells, &cell{address: FirstDrive + drive.Address(i), kind: drive.DriveElement, drive: d})
	}
	for i := range slots {
		l.cells = append(l.cells, &cell{address: FirstSlot + drive.Address(i), kind: drive.SlotElement})
	}
	return l
}

func (l *Library) cell(address drive.Address) (*cell, error) {
	i := slices.IndexFunc(l.cells, func(c *cell) bool { return c.address == address })
	if i < 0 {
		return nil, fmt.Errorf("element %d: %w", address, drive.ErrUnsupported)
	}
	return l.cells[i], nil
}

// look gives what lies in a cell, and whether the robot can get at it.
func (c *cell) look() (cartridge *Cartridge, accessible bool) {
	if c.drive != nil {
		return c.drive.Cartridge()
	}
	return c.cartridge, true
}

func (c *cell) put(cartridge *Cartridge) {
	if c.drive != nil {
		c.drive.Insert(cartridge)
		return
	}
	c.cartridge = cartridge
}

func (c *cell) take() {
	if c.drive != nil {
		c.drive.Remove()
	}
	c.cartridge = nil
}

// Place puts a cartridge into an element that is no drive, as a person does.
func (l *Library) Place(address drive.Address, cartridge *Cartridge) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := l.cell(address)
	if err != nil {
		return err
	}
	if c.cartridge != nil || c.drive != nil {
		return drive.ErrElementFull
	}
	c.cartridge = cartridge
	return nil
}

// Inventory lists the elements.
func (l *Library) Inventory() ([]drive.Element, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []drive.Element
	for _, c := range l.cells {
		cartridge, accessible := c.look()
		element := drive.Element{Address: c.address, Kind: c.kind, Full: cartridge != nil}
		if cartridge != nil {
			element.Barcode, element.Accessible = cartridge.Barcode, accessible
		}
		all = append(all, element)
	}
	return all, nil
}

// Move brings a cartridge from one element to another; a drive threads it.
func (l *Library) Move(from, to drive.Address) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	source, err := l.cell(from)
	if err != nil {
		return err
	}
	target, err := l.cell(to)
	if err != nil {
		return err
	}
	cartridge, accessible := source.look()
	there, _ := target.look()
	switch {
	case cartridge == nil:
		return fmt.Errorf("element %d: %w", from, drive.ErrElementEmpty)
	case there != nil:
		return fmt.Errorf("element %d: %w", to, drive.ErrElementFull)
	case !accessible:
		return fmt.Errorf("element %d: %w", from, drive.ErrElementLocked)
	}
	source.take()
	target.put(cartridge)
	return nil
}

// Close has nothing to let go of.
func (l *Library) Close() error { return nil }
