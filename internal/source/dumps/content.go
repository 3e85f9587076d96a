package dumps

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"

	"capstan"
	"capstan/internal/disk"
)

// item makes what is emitted of a file. A small one leaves the spool at once, another
// when it was packed.
func (s *scan) item(ctx context.Context, file ready) (capstan.Item, error) {
	const private = 0o600
	in, err := s.opt.Disk.Open(file.path)
	if err != nil {
		s.spool.removed(file)
		return capstan.Item{}, lost(file, err)
	}
	item := capstan.Item{
		Entry:   s.entry(capstan.JoinPath(file.dir, file.name), capstan.KindFile, private, s.spec+": "+file.tag),
		Unsplit: true,
	}
	item.Entry.Size = in.Size()
	s.spool.enter()
	c := &content{data: io.NewSectionReader(in, 0, in.Size()), file: in, ready: file, scan: s, ctx: context.WithoutCancel(ctx)}
	if in.Size() > smallFile {
		item.Content = c
		return item, nil
	}
	item.Data = make([]byte, in.Size())
	_, err = io.ReadFull(c, item.Data)
	item.Entry.Hash = sha256.Sum256(item.Data)
	return item, errors.Join(err, c.Close())
}

// lost is the error of a file of the spool that cannot be read back.
func lost(file ready, err error) error {
	if err == nil {
		return nil
	}
	return &capstan.Error{Op: "read back what was dumped of", Object: file.tag, Err: err, Safe: "no set was completed", Next: "look at the stage's disk, then run the job again"}
}

// content is a file of the spool that is being packed.
type content struct {
	data  io.Reader
	file  *disk.Reader
	ready ready
	scan  *scan
	ctx   context.Context //nolint:containedctx // Close has none
	once  sync.Once
}

// Read implements capstan.Content. What cannot be read ends the dump while it lasts;
// after that the packer records the entry as failed, and the set is partial.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.data.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = lost(c.ready, err)
		c.scan.spool.fail(err)
	}
	return n, err
}

// Drift implements capstan.Content: nobody else writes there.
func (*content) Drift() string { return "" }

// Close removes the file from the spool.
func (c *content) Close() (err error) {
	c.once.Do(func() {
		err = errors.Join(c.file.Close(), c.scan.opt.Disk.Remove(c.ready.path))
		c.scan.spool.removed(c.ready)
		err = errors.Join(err, c.scan.spool.leave(c.ctx))
	})
	return err
}
