package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ProbeBlock finds the largest of sizes, in bytes and in falling order, that goes to
// the tape and comes back as it was; host adapters have limits that nothing tells. It
// overwrites the tape from its beginning: it is for a cartridge that is about to be
// labelled. ErrBlockLimit means that none of them does. The tape stands at object 0.
func ProbeBlock(ctx context.Context, d *Drive, sizes []int) (int, error) {
	reason := errors.New("there is none to try")
	for _, size := range sizes {
		if err := d.Rewind(ctx); err != nil {
			return 0, err
		}
		err := tryBlock(ctx, d, pattern(size))
		if err == nil {
			return size, d.Rewind(ctx)
		}
		_, hung := errors.AsType[*HungError](err)
		if hung || ctx.Err() != nil || errors.Is(err, ErrWriteProtected) || errors.Is(err, ErrNoMedium) {
			return 0, err
		}
		reason = fmt.Errorf("%d bytes: %w", size, err)
	}
	return 0, fmt.Errorf("%w: %w", ErrBlockLimit, reason)
}

// tryBlock writes a block at the beginning and reads it back.
func tryBlock(ctx context.Context, d *Drive, block []byte) error {
	if err := d.WriteBlock(ctx, block); err != nil {
		return err
	}
	if err := d.WriteFilemarks(ctx, 1, Sync); err != nil {
		return err
	}
	if err := d.Rewind(ctx); err != nil {
		return err
	}
	back := make([]byte, len(block))
	n, err := d.ReadBlock(ctx, back)
	if err == nil && !bytes.Equal(back[:n], block) {
		err = errors.New("the block came back changed")
	}
	return err
}

// pattern is a content in which no part of a page is like another.
func pattern(size int) []byte {
	p := make([]byte, size)
	state := uint32(size)
	for i := range p {
		state = state*1664525 + 1013904223
		p[i] = byte(state >> 24)
	}
	return p
}
