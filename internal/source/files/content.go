package files

import (
	"errors"
	"fmt"
	"io"
	"os"

	"capstan"
)

// maxOpenContents bounds the contents that keep their file open.
const maxOpenContents = 128

// errReplaced reports that another file stands under the name by now.
var errReplaced = errors.New("another file took its place before it was read")

// content gives the stored bytes of one file. Where the bound on open files was
// reached it is not open yet: it then finds the file again at the first Read.
type content struct {
	run    *run
	file   file
	opened bool
	slot   bool // counts in run.contents
	closed bool

	root *folder // a reference, where the file is still to be opened
	path string  // below root

	start   stat // when it was opened, or found
	whole   [1]capstan.Extent
	ranges  []capstan.Extent // what is still to be read
	problem error            // sticky
}

// newContent owns f.
func (r *run) newContent(it *item, f file, st *stat) *content {
	e := &it.out.Entry
	c := &content{run: r, start: *st}
	c.whole[0] = capstan.Extent{Length: e.Size}
	c.ranges = c.whole[:]
	if e.Sparse {
		c.ranges = append([]capstan.Extent(nil), e.Data...) // Read eats them
	}
	if r.contents.Add(1) <= maxOpenContents {
		f.sequential()
		c.file, c.opened, c.slot = f, true, true
		return c
	}
	r.contents.Add(-1)
	f.close()
	c.root, c.path = r.root.retain(), r.below(e.Path)
	return c
}

// Read fails with errReplaced or fs.ErrNotExist where the file had to be found
// again and is not the same any more. It blocks as long as the system does.
func (c *content) Read(p []byte) (int, error) {
	switch {
	case c.closed:
		return 0, os.ErrClosed
	case c.problem != nil:
		return 0, c.problem
	case !c.opened:
		if c.problem = c.open(); c.problem != nil {
			return 0, c.problem
		}
	}
	for len(c.ranges) > 0 && c.ranges[0].Length == 0 {
		c.ranges = c.ranges[1:]
	}
	if len(c.ranges) == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	x := &c.ranges[0]
	n, err := c.file.readAt(p[:min(int64(len(p)), x.Length)], x.Offset)
	if err == nil && n == 0 {
		err = io.EOF // it was cut short
	}
	x.Offset, x.Length = x.Offset+int64(n), x.Length-int64(n)
	c.problem = err
	if hook := c.run.opt.Hooks.Bytes; hook != nil && n > 0 {
		hook(n)
	}
	return n, err
}

// open finds the file again.
func (c *content) open() error {
	dir, name := capstan.SplitPath(c.path)
	folder, err := c.root.descend(dir)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer folder.release()
	noatime := true
	f, err := folder.open(name, &noatime)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	st, err := f.stat()
	if err == nil && (st.kind != capstan.KindFile || st.inode() != c.start.inode()) {
		err = errReplaced
	}
	if err != nil {
		f.close()
		return fmt.Errorf("open: %w", err)
	}
	f.sequential()
	c.file, c.opened = f, true
	return nil
}

// Drift compares size, mtime and ctime with those of the time when the file was
// opened for the scan.
func (c *content) Drift() string {
	if !c.opened || c.closed {
		return ""
	}
	now, err := c.file.stat()
	if err != nil {
		return "could not be examined after it was read: " + err.Error()
	}
	return c.start.drift(&now)
}

// Close may be called more than once.
func (c *content) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	if c.opened {
		c.file.close()
	}
	if c.slot {
		c.run.contents.Add(-1)
	}
	if c.root != nil {
		c.root.release()
	}
	return nil
}
