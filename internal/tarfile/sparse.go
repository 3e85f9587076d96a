package tarfile

import (
	"strconv"

	"capstan"
)

// checkExtents checks that data ranges ascend within a file of size bytes, hold
// stored bytes together, and that all but the last have whole blocks: GNU tar
// starts each range at a new block, bsdtar does not.
func checkExtents(data []capstan.Extent, size, stored int64) error {
	var end, sum int64
	for i, x := range data {
		if x.Length%Block != 0 && i < len(data)-1 {
			return unstorable("a sparse file with a data range of %d bytes, no multiple of %d", x.Length, Block)
		}
		if x.Offset < end || x.Length <= 0 || x.Length > size || x.Offset > size-x.Length {
			return unstorable("the data range %d+%d in a sparse file of %d bytes", x.Offset, x.Length, size)
		}
		end = x.Offset + x.Length
		sum += x.Length
	}
	if sum != stored {
		return unstorable("%d bytes of content for data ranges of %d bytes", stored, sum)
	}
	return nil
}

// endsInHole reports whether the map needs the empty range at the end that GNU
// tar writes after a last hole.
func endsInHole(e *capstan.Entry) bool {
	if len(e.Data) == 0 {
		return true
	}
	last := e.Data[len(e.Data)-1]
	return last.Offset+last.Length < e.Size
}

// mapSize is the length of the map in whole blocks.
func mapSize(e *capstan.Entry) int64 {
	n := len(e.Data)
	size := 0
	if endsInHole(e) {
		n++
		size += mapLine(e.Size) + mapLine(0)
	}
	size += mapLine(int64(n))
	for _, x := range e.Data {
		size += mapLine(x.Offset) + mapLine(x.Length)
	}
	return int64(size) + Padding(int64(size))
}

func mapLine(n int64) int {
	digits := 2
	for ; n >= 10; n /= 10 {
		digits++
	}
	return digits
}

// appendMap writes the map of a sparse file (GNU tar manual, "PAX Format,
// Version 1.0"): the number of ranges, then offset and length of each, a
// number a line, filled up with zeros to a whole block.
func appendMap(dst []byte, e *capstan.Entry) []byte {
	start := len(dst)
	n := len(e.Data)
	hole := endsInHole(e)
	if hole {
		n++
	}
	dst = appendLine(dst, int64(n))
	for _, x := range e.Data {
		dst = appendLine(dst, x.Offset)
		dst = appendLine(dst, x.Length)
	}
	if hole {
		dst = appendLine(dst, e.Size)
		dst = appendLine(dst, 0)
	}
	return append(dst, zeros[:Padding(int64(len(dst)-start))]...)
}

func appendLine(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(dst, n, 10), '\n')
}

// MapBound is the most bytes that the map of one more data range adds.
const MapBound = 2 * 20
