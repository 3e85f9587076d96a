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
		return capstan.Item{}, err
	}
	item := capstan.Item{
		Entry:   s.entry(capstan.JoinPath(file.dir, file.name), capstan.KindFile, private, s.spec+": "+file.tag),
		Unsplit: true,
	}
	item.Entry.Size = in.Size()
	s.spool.enter()
	c := &content{Reader: io.NewSectionReader(in, 0, in.Size()), file: in, ready: file, scan: s, ctx: context.WithoutCancel(ctx)}
	if in.Size() > smallFile {
		item.Content = c
		return item, nil
	}
	item.Data = make([]byte, in.Size())
	_, err = io.ReadFull(c, item.Data)
	item.Entry.Hash = sha256.Sum256(item.Data)
	return item, errors.Join(err, c.Close())
}

// content is a file of the spool that is being packed.
type content struct {
	io.Reader
	file  *disk.Reader
	ready ready
	scan  *scan
	ctx   context.Context //nolint:containedctx // Close has none
	once  sync.Once
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
