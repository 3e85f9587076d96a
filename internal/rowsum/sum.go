package rowsum

import (
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Method names how a sum is made, for whoever reads one in a file.
const Method = "xxh3-128 of each row of COPY text, with its line end, added modulo 2^128"

// Sum is that of some rows; the zero value is that of none.
type Sum struct{ hi, lo uint64 }

// Row adds a row, with its line end.
func (s *Sum) Row(row []byte) { s.hash(xxh3.Hash128(row)) }

// Add adds the rows of another sum.
func (s *Sum) Add(other Sum) { s.hash(xxh3.Uint128{Hi: other.hi, Lo: other.lo}) }

func (s *Sum) hash(h xxh3.Uint128) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, h.Lo, 0)
	s.hi, _ = bits.Add64(s.hi, h.Hi, carry)
}

// String gives 32 hexadecimal digits.
func (s Sum) String() string { return fmt.Sprintf("%016x%016x", s.hi, s.lo) }

// MarshalText gives the same.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what String gives.
func (s *Sum) UnmarshalText(text []byte) error {
	const size = 16
	var raw [size]byte
	if len(text) != hex.EncodedLen(size) {
		return fmt.Errorf("a sum of rows has %d digits, not %d", hex.EncodedLen(size), len(text))
	}
	if _, err := hex.Decode(raw[:], text); err != nil {
		return fmt.Errorf("sum of rows: %w", err)
	}
	*s = Sum{}
	for i, b := range raw {
		if i < size/2 {
			s.hi = s.hi<<8 | uint64(b)
		} else {
			s.lo = s.lo<<8 | uint64(b)
		}
	}
	return nil
}

// Long is one row that comes in pieces. It is made by NewLong and reused by one
// goroutine.
type Long struct{ hasher *xxh3.Hasher }

// NewLong makes one; it takes about a KiB.
func NewLong() *Long { return &Long{hasher: xxh3.New()} }

// Piece adds a piece of the row.
func (l *Long) Piece(p []byte) { _, _ = l.hasher.Write(p) } // it never fails

// End ends the row, adds it to s as Row would, and makes the Long ready for the next.
func (l *Long) End(s *Sum) {
	s.hash(l.hasher.Sum128())
	l.hasher.Reset()
}
