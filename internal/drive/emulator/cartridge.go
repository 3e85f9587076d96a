package emulator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"capstan"
	"capstan/internal/disk"
)

// Cartridge is a tape, in memory or in a file. It lies in one drive at a time.
type Cartridge struct {
	// Capacity is the size that the image may reach, and Warning the size from which
	// on writes say that the end is near; 0 is no end.
	Capacity, Warning capstan.Bytes
	// WriteProtected is the switch on the cartridge.
	WriteProtected bool
	// Barcode is what a changer reads on its label.
	Barcode string
	// Cleaning marks a cartridge that cleans the drive it is loaded into.
	Cleaning bool

	tape *tape
	// synced is the number of objects that a cut of power leaves.
	synced int64
}

// Blank gives an empty cartridge in memory.
func Blank(capacity, warning capstan.Bytes) *Cartridge {
	return &Cartridge{Capacity: capacity, Warning: warning, tape: &tape{store: &memory{}}}
}

// Create makes the image of an empty cartridge; it fails with fs.ErrExist if the path
// is taken. Its name is durable.
func Create(path string, capacity, warning capstan.Bytes) (*Cartridge, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := (disk.FS{}).SyncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Cartridge{Capacity: capacity, Warning: warning, tape: &tape{store: file{f}}}, nil
}

// Open opens an image; all that is in it counts as synced. One that cannot be opened
// for writing is write-protected. It reads the lengths of all blocks: about a second
// for 400,000.
func Open(path string, capacity, warning capstan.Bytes) (*Cartridge, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	protected := errors.Is(err, fs.ErrPermission)
	if protected {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	t, err := openTape(file{f})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &Cartridge{Capacity: capacity, Warning: warning, WriteProtected: protected, tape: t, synced: t.count}, nil
}

// Objects is the number of blocks and filemarks.
func (c *Cartridge) Objects() int64 { return c.tape.count }

// Close closes the image. The cartridge must lie in no drive.
func (c *Cartridge) Close() error { return c.tape.store.Close() }

// room reports whether n more bytes fit behind offset at, and whether the early
// warning lies before their end.
func (c *Cartridge) room(at, n int64) (fits, warned bool) {
	end := at + n
	return c.Capacity == 0 || end <= int64(c.Capacity), c.Warning != 0 && end > int64(c.Warning)
}

// sync makes all objects durable.
func (c *Cartridge) sync() error {
	if err := c.tape.store.Sync(); err != nil {
		return err
	}
	c.synced = c.tape.count
	return nil
}

// Layout gives the size of each block in bytes, in order, and 0 for each filemark. No
// drive may be at work on the cartridge.
func (c *Cartridge) Layout() ([]int, error) {
	var sizes []int
	for i := range c.tape.count {
		o, err := c.tape.find(i)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, o.length)
	}
	return sizes, nil
}
