// Package tarfile writes and reads the headers of tar archives as stock GNU tar
// and bsdtar take them: POSIX ustar headers, preceded by a PAX extended header
// where something does not fit (nanoseconds, long or non-ASCII names, large
// numbers, xattrs, ACLs, holes).
//
// Use: AppendHeader gives the bytes that stand before an entry's content; the
// caller writes StoredSize bytes of content after them and zeros up to the next
// multiple of Block; two blocks of zeros (AppendEnd) end the archive. Parser reads
// headers back. Everything is pure memory work and safe for concurrent use,
// save that a Parser belongs to one goroutine.
//
// Why not archive/tar of the standard library: its writer drops holes and
// refuses "=" in the names of xattrs.
package tarfile

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"capstan"
)

// Block is the unit of a tar archive, in bytes.
const Block = 512

// EndSize is the length of what AppendEnd appends.
const EndSize = 2 * Block

// Limits of what is written and of what is accepted from a medium; they bound
// the memory that a header takes.
const (
	MaxRecords = 8 << 20 // bytes of one PAX extended header
	MaxExtents = 1 << 20 // data ranges of a sparse file
)

// ErrUnstorable reports an entry that tar cannot hold; the error says why.
var ErrUnstorable = errors.New("cannot be stored in a tar archive")

// Padding is how many zeros follow size bytes of content.
func Padding(size int64) int64 { return -size & (Block - 1) }

// AppendEnd appends the mark that ends an archive.
func AppendEnd(dst []byte) []byte { return append(dst, make([]byte, EndSize)...) }

// unstorable is an error about an entry.
func unstorable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnstorable, fmt.Sprintf(format, args...))
}

// checkPath tells what keeps a path from being stored: it must be relative,
// without empty, "." and ".." components and without zero bytes.
func checkPath(path string) error {
	if path == "" {
		return unstorable("the path is empty")
	}
	if strings.IndexByte(path, 0) >= 0 {
		return unstorable("the path has a zero byte")
	}
	for start := 0; start <= len(path); {
		end := strings.IndexByte(path[start:], '/')
		if end < 0 {
			end = len(path) - start
		}
		switch path[start : start+end] {
		case "", ".", "..":
			return unstorable("the path %q has a component %q", path, path[start:start+end])
		}
		start += end + 1
	}
	return nil
}

// plain reports whether a name means the same in every character set.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// inRecord reports whether a name belongs into a PAX record: PAX demands UTF-8.
// A name that is not goes into the header itself, or into a GNU long name
// record, which both GNU tar and bsdtar take without a word.
func inRecord(s string) bool { return !plain(s) && utf8.ValidString(s) }

// typeFlags are the type bytes of the kinds.
var typeFlags = [...]byte{
	capstan.KindFile: '0', capstan.KindHardlink: '1', capstan.KindSymlink: '2', capstan.KindCharDevice: '3',
	capstan.KindBlkDevice: '4', capstan.KindDir: '5', capstan.KindFifo: '6',
}
