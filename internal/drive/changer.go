package drive

// Changer is a robot that moves cartridges between slots and drives. Its methods
// block until the robot has answered, minutes if it has to take stock, and are called
// from one goroutine at a time.
type Changer interface {
	// Inventory lists the elements in order of their addresses.
	Inventory() ([]Element, error)
	// Move brings a cartridge from one element to another. ErrElementEmpty,
	// ErrElementFull and ErrElementLocked report that nothing was moved, ErrUnsupported
	// that there is no such element. After any other error the cartridge is anywhere:
	// ask for the inventory.
	Move(from, to Address) error
	// Close lets go of the changer.
	Close() error
}

// Address is the number of an element in its changer, 0 to 65535.
type Address uint16

// Element is a place for one cartridge.
type Element struct {
	Address Address
	Kind    ElementKind
	Full    bool
	Barcode string // of the cartridge, as the robot read it; empty if it could not
	// Accessible reports whether the robot can reach the cartridge; in a drive it
	// cannot until the drive has unloaded it.
	Accessible bool
	// Problem is what the robot says is wrong with the element, as ASC and ASCQ in one
	// number; 0 for nothing.
	Problem uint16
}

// ElementKind is what an element is for (SMC-3, element type codes).
type ElementKind uint8

// The kinds of elements.
const (
	TransportElement ElementKind = 1 // the robot's hand
	SlotElement      ElementKind = 2
	MailElement      ElementKind = 3 // where people put cartridges in and take them out
	DriveElement     ElementKind = 4
)

// String is the kind as people call it.
func (k ElementKind) String() string {
	switch k {
	case TransportElement:
		return "transport"
	case SlotElement:
		return "slot"
	case MailElement:
		return "mail slot"
	case DriveElement:
		return "drive"
	}
	return "unknown"
}
