//go:build linux

package tcmu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in the shared memory (linux/target_core_user.h, version 2).
const (
	boxRing     = 4 // where the ring of commands begins
	boxRingSize = 8
	boxHead     = 12 // the kernel's end of the ring
	boxTail     = 64 // our end

	entryID     = 4
	entryFlags  = 7 // ours
	entryIovs   = 8 // number of pieces of data
	entryCDB    = 24
	entryPieces = 48
	replyStatus = 8
	replyLength = 12
	replySense  = 16

	opPad     = 0
	opCommand = 1

	flagUnknown = 1 // we do not know this entry
	flagLength  = 2 // replyLength says how much was read
)

// ring is the memory that the kernel and we share, and the file that wakes each other.
type ring struct {
	fd     int
	memory []byte
	target Target
}

// serve answers commands until the device is gone.
func (r *ring) serve() error {
	var count [4]byte
	for {
		if _, err := unix.Read(r.fd, count[:]); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return fmt.Errorf("wait for commands: %w", err)
		}
		if r.drain() {
			if _, err := unix.Write(r.fd, count[:]); err != nil {
				return fmt.Errorf("tell the kernel of answers: %w", err)
			}
		}
	}
}

// drain answers all commands that are in the ring.
func (r *ring) drain() (some bool) {
	start, length := r.number(boxRing), r.number(boxRingSize)
	head := (*uint32)(unsafe.Pointer(&r.memory[boxHead]))
	tail := (*uint32)(unsafe.Pointer(&r.memory[boxTail]))
	for at := atomic.LoadUint32(tail); at != atomic.LoadUint32(head); {
		entry := r.memory[start+at:]
		word := binary.LittleEndian.Uint32(entry)
		switch word & 7 {
		case opPad:
		case opCommand:
			r.answer(entry)
		default:
			entry[entryFlags] |= flagUnknown
		}
		at = (at + word&^7) % length
		atomic.StoreUint32(tail, at)
		some = true
	}
	return some
}

func (r *ring) number(at int) uint32 { return binary.LittleEndian.Uint32(r.memory[at:]) }

// answer carries one command out. Its data lies in pieces, which are joined for the
// target.
func (r *ring) answer(entry []byte) {
	pieces := r.pieces(entry)
	var data []byte
	if len(pieces) == 1 {
		data = pieces[0]
	} else {
		for _, p := range pieces {
			data = append(data, p...)
		}
	}
	cdb := make([]byte, 16)
	copy(cdb, r.memory[binary.LittleEndian.Uint64(entry[entryCDB:]):])

	n, sense := r.target.Execute(cdb, data)
	if len(pieces) > 1 && n > 0 {
		rest := data[:n]
		for _, p := range pieces {
			rest = rest[copy(p, rest):]
		}
	}
	clear(entry[replyStatus : replySense+96])
	if answers(cdb[0]) {
		entry[entryFlags] |= flagLength
		binary.LittleEndian.PutUint32(entry[replyLength:], uint32(n))
	}
	entry[replyStatus] = statusGood
	if sense != nil {
		entry[replyStatus] = statusCheck
		encoded := encode(sense)
		copy(entry[replySense:], encoded[:])
	}
}

// pieces are the parts of the shared memory that hold a command's data.
func (r *ring) pieces(entry []byte) [][]byte {
	pieces := make([][]byte, binary.LittleEndian.Uint32(entry[entryIovs:]))
	for i := range pieces {
		iov := entry[entryPieces+16*i:]
		at, n := binary.LittleEndian.Uint64(iov), binary.LittleEndian.Uint64(iov[8:])
		pieces[i] = r.memory[at : at+n]
	}
	return pieces
}

// answers reports a command that sends data to the host. Of those the length must
// always be said: else what comes with a check condition (a short block) is lost.
func answers(operation byte) bool {
	switch operation {
	case opWrite, opModeSelect, opTestReady, opRewind, opMarks, opSpace, opLoad, opPreventRemove, opLocate:
		return false
	}
	return true
}
