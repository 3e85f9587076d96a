package capstantest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// files compares size, content and holes.
func (c *comparison) files(path string, want, got node, w, g *unix.Stat_t) error {
	if w.Size != g.Size {
		c.differ(path, "size %d, want %d", g.Size, w.Size)
		return nil
	}
	wantContent, wantHoles, err := read(want, w.Size)
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	gotContent, gotHoles, err := read(got, g.Size)
	if err != nil {
		return fmt.Errorf("read restored %q: %w", path, err)
	}
	if wantContent != gotContent {
		c.differ(path, "content differs")
	}
	if !c.noHoles && !slices.Equal(wantHoles, gotHoles) {
		c.differ(path, "holes %v, want %v", gotHoles, wantHoles)
	}
	return nil
}

// block is the size of the pieces in which holes and zeros are looked at; it is
// that of pages and of the usual filesystems.
const block = 4096

// hole is a range of whole blocks.
type hole struct{ start, end int64 }

// read hashes a file with the offsets of all blocks that are not zero, so that
// the sum does not depend on what is a hole, and lists its holes.
func read(n node, size int64) (sum [32]byte, holes []hole, err error) {
	fd, err := n.open(unix.O_RDONLY)
	if err != nil {
		return sum, nil, err
	}
	defer unix.Close(fd)
	hash := sha256.New()
	buf := make([]byte, 64*block)
	zeros := make([]byte, block)
	for at := int64(0); at < size; {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data, err = size, nil
		}
		if err != nil {
			return sum, nil, err
		}
		if h := (hole{(at + block - 1) / block * block, data / block * block}); data == size || h.start < h.end {
			if data == size {
				h.end = size
			}
			if h.start < h.end {
				holes = append(holes, h)
			}
		}
		if data >= size {
			break
		}
		end, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil {
			return sum, nil, err
		}
		end = min((end+block-1)/block*block, size)
		for at = data / block * block; at < end; {
			size, err := unix.Pread(fd, buf[:min(int64(len(buf)), end-at)], at)
			if err != nil || size == 0 {
				return sum, nil, fmt.Errorf("%d bytes at %d: %w", size, at, err)
			}
			for piece := range slices.Chunk(buf[:size], block) {
				if !bytes.Equal(piece, zeros[:len(piece)]) {
					_ = binary.Write(hash, binary.LittleEndian, at)
					hash.Write(piece)
				}
				at += int64(len(piece))
			}
		}
	}
	return [32]byte(hash.Sum(nil)), holes, nil
}

// links maps an inode to its names, in the order of the walk.
type links map[[2]uint64][]string

func (l links) add(path string, st *unix.Stat_t) {
	key := [2]uint64{st.Dev, st.Ino}
	l[key] = append(l[key], path)
}

// groups maps each path to all names of its file.
func (l links) groups() map[string]string {
	all := make(map[string]string)
	for _, paths := range l {
		if len(paths) > 1 {
			for _, path := range paths {
				all[path] = strings.Join(paths, ", ")
			}
		}
	}
	return all
}

// hardLinks compares which paths are names of one file.
func (c *comparison) hardLinks() {
	want, got := c.wantLinks.groups(), c.gotLinks.groups()
	for path, group := range sorted(want) {
		if got[path] != group {
			c.differ(path, "hard links %q, want %q", got[path], group)
		}
	}
	for path, group := range sorted(got) {
		if want[path] == "" {
			c.differ(path, "hard links %q, want none", group)
		}
	}
}
