//go:build cgo && linux && amd64

package digest

/*
#cgo CFLAGS: -O2
#cgo noescape capstan_sha256_two
#cgo nocallback capstan_sha256_two
#cgo noescape capstan_sha256_one
#cgo nocallback capstan_sha256_one
#include "lanes.h"
*/
import "C"

import (
	"encoding/binary"
	"unsafe"

	"capstan"
)

const blockSize = 64

// hasLanes reports whether this processor has the instructions.
var hasLanes = C.capstan_sha256_there() != 0 //nolint:gochecknoglobals // a fact about the processor; asking costs a trap in a virtual machine

// start is the initial value of FIPS 180-4, 5.3.3.
var start = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

// lane is a hash on its way.
type lane struct{ state [8]uint32 }

func (l *lane) reset() { l.state = start }

// takeOne takes whole blocks.
func (l *lane) takeOne(b []byte) {
	C.capstan_sha256_one(words(&l.state), octets(b), C.size_t(len(b)/blockSize))
}

// takeTwo takes as many whole blocks into each of two.
func takeTwo(l *lane, b []byte, m *lane, c []byte) {
	C.capstan_sha256_two(words(&l.state), octets(b), words(&m.state), octets(c), C.size_t(len(b)/blockSize))
}

// pad makes the blocks that end a hash of so many bytes, of which rest is not taken
// yet: a bit, zeros, and the length in bits (FIPS 180-4, 5.1.1).
func pad(to *[2 * blockSize]byte, rest []byte, length uint64) []byte {
	clear(to[copy(to[:], rest):])
	to[len(rest)] = 0x80
	end := to[:blockSize]
	if len(rest)+1+8 > blockSize {
		end = to[:]
	}
	binary.BigEndian.PutUint64(end[len(end)-8:], length*8)
	return end
}

// finish takes the end and gives the hash.
func (l *lane) finish(rest []byte, length uint64) capstan.Hash {
	var room [2 * blockSize]byte
	l.takeOne(pad(&room, rest, length))
	return l.sum()
}

func (l *lane) sum() (sum capstan.Hash) {
	for i, word := range l.state {
		binary.BigEndian.PutUint32(sum[4*i:], word)
	}
	return sum
}

// buffer is one of several on its way.
type buffer struct {
	lane
	now   []byte // whole blocks, to be taken next
	end   []byte // the blocks behind them, in room
	index int
	room  [2 * blockSize]byte
}

func (b *buffer) begin(index int, data []byte) {
	whole := len(data) &^ (blockSize - 1)
	b.reset()
	b.index, b.now = index, data[:whole]
	b.end = pad(&b.room, data[whole:], uint64(len(data)))
	b.next()
}

// next goes on to the end when the whole blocks are through; false: all is.
func (b *buffer) next() bool {
	if len(b.now) == 0 {
		b.now, b.end = b.end, nil
	}
	return len(b.now) > 0
}

// inLanes keeps two buffers under way as long as there are two.
func inLanes(sums []capstan.Hash, data [][]byte) {
	var both [2]buffer
	a, b := &both[0], &both[1]
	a.begin(0, data[0])
	b.begin(1, data[1])
	for taken := 2; ; {
		n := min(len(a.now), len(b.now))
		takeTwo(&a.lane, a.now[:n], &b.lane, b.now[:n])
		a.now, b.now = a.now[n:], b.now[n:]
		for i := range both {
			x := &both[i]
			if x.next() {
				continue
			}
			sums[x.index] = x.sum()
			if taken == len(data) {
				both[1-i].alone(sums)
				return
			}
			x.begin(taken, data[taken])
			taken++
		}
	}
}

// alone takes the last buffer to its end.
func (b *buffer) alone(sums []capstan.Hash) {
	for b.next() {
		b.takeOne(b.now)
		b.now = nil
	}
	sums[b.index] = b.sum()
}

func words(state *[8]uint32) *C.uint32_t { return (*C.uint32_t)(unsafe.Pointer(state)) }

func octets(b []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(b))) }
