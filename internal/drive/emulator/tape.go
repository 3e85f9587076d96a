package emulator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The words of the format.
const (
	word      = 4          // bytes of a length
	markWord  = 0          // a filemark
	badBit    = 1 << 31    // of a length: the block cannot be read
	lengths   = 1<<24 - 1  // of a length: the bytes of the block
	eraseGap  = 0xFFFFFFFE // written by other programs; it is no object
	endMedium = 0xFFFFFFFF
)

// MaxBlock is the largest block that the format, and SCSI's WRITE(6), can express.
const MaxBlock = lengths

// stride is the number of objects between two whose place is remembered: 18 TB in
// blocks of 256 KiB take 600 KB so, and no search reads more than 1,024 lengths.
const stride = 1024

// object is a block or a filemark as it lies in the image.
type object struct {
	at     int64 // where its first word is
	length int   // of the block; 0 for a filemark
	bad    bool
}

func (o object) mark() bool { return o.length == 0 }

// end is where the next object begins.
func (o object) end() int64 {
	if o.mark() {
		return o.at + word
	}
	return o.at + size(o.length)
}

// size is the room that a block takes in the image.
func size(length int) int64 { return 2*word + int64(length+length&1) }

// tape is the row of objects in an image.
type tape struct {
	store store
	count int64   // objects
	end   int64   // where the end of data is, in bytes
	known []int64 // where objects 0, stride, 2*stride… begin
	// near is the object that was looked at last, and where it begins.
	near, nearAt int64
	header       [word]byte
	// image is where an object is put together, so that it is written in one piece.
	image []byte
	// bare reports that nothing lies behind the end of data, not even the rest of a
	// write that was cut off.
	bare bool
}

// openTape reads the lengths of all objects, once: what is damaged or cut off at the
// end is taken for the end of data.
func openTape(s store) (*tape, error) {
	t := &tape{store: s}
	for {
		o, err := t.objectAt(t.end)
		switch {
		case errors.Is(err, io.EOF):
			return t, nil
		case err != nil:
			return nil, err
		}
		t.remember(o.at)
		t.count++
		t.end = o.end()
	}
}

// remember notes where object number t.count begins.
func (t *tape) remember(at int64) {
	if t.count%stride == 0 {
		t.known = append(t.known[:t.count/stride], at)
	}
}

// objectAt reads the object that begins at a place; io.EOF is the end of data.
func (t *tape) objectAt(at int64) (object, error) {
	for {
		head, err := t.word(at)
		if err != nil {
			return object{}, err
		}
		switch head {
		case eraseGap:
			at += word
			continue
		case markWord:
			return object{at: at}, nil
		case endMedium:
			return object{}, io.EOF
		}
		o := object{at: at, length: int(head & lengths), bad: head&badBit != 0}
		if head&^(badBit|lengths) != 0 || o.length == 0 {
			return object{}, io.EOF
		}
		tail, err := t.word(o.end() - word)
		if err == nil && tail != head {
			err = io.EOF
		}
		return o, err
	}
}

// word reads one length; one that is not whole is io.EOF.
func (t *tape) word(at int64) (uint32, error) {
	_, err := t.store.ReadAt(t.header[:], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read the cartridge's image: %w", err)
	}
	return binary.LittleEndian.Uint32(t.header[:]), err
}

// find gives object i; io.EOF is the end of data.
func (t *tape) find(i int64) (object, error) {
	if i >= t.count {
		return object{}, io.EOF
	}
	n, at := i/stride*stride, t.known[i/stride]
	if t.near >= n && t.near <= i {
		n, at = t.near, t.nearAt
	}
	for {
		o, err := t.objectAt(at)
		if err != nil {
			return object{}, fmt.Errorf("object %d of the cartridge's image at byte %d was there before: %w", n, at, err)
		}
		if n == i {
			t.near, t.nearAt = n, at
			return o, nil
		}
		n, at = n+1, o.end()
	}
}

// offset is where object i begins, or would.
func (t *tape) offset(i int64) (int64, error) {
	if i == t.count {
		return t.end, nil
	}
	o, err := t.find(i)
	return o.at, err
}

// read reads as much of a block as p holds.
func (t *tape) read(o object, p []byte) error {
	_, err := t.store.ReadAt(p[:min(len(p), o.length)], o.at+word)
	return err
}

// cut drops object i and all behind it.
func (t *tape) cut(i int64) error {
	if i == t.count {
		return nil
	}
	at, err := t.offset(i)
	if err != nil {
		return err
	}
	if err := t.store.Truncate(at); err != nil {
		return err
	}
	t.count, t.end = i, at
	t.known = t.known[:(i+stride-1)/stride]
	t.near, t.nearAt = 0, 0
	return nil
}

// append writes an object at the end of data: a block, or with an empty p a filemark.
func (t *tape) append(p []byte, bad bool) error {
	head := uint32(len(p))
	if bad {
		head |= badBit
	}
	at := t.end
	if !t.bare {
		if err := t.store.Truncate(at); err != nil {
			return err
		}
	}
	t.bare = false
	t.image = binary.LittleEndian.AppendUint32(t.image[:0], head)
	if len(p) > 0 {
		t.image = append(t.image, p...)
		t.image = append(t.image, 0)[:len(t.image)+len(p)&1]
		t.image = binary.LittleEndian.AppendUint32(t.image, head)
	}
	if _, err := t.store.WriteAt(t.image, at); err != nil {
		return err
	}
	t.remember(at)
	t.count++
	t.end = at + int64(len(t.image))
	t.bare = true
	return nil
}
