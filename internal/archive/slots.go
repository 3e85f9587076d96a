package archive

import (
	"context"

	"capstan"
)

// room makes sure that there is a frame with room for a byte at least.
func (p *Packer) room(ctx context.Context) error {
	l := &p.layout
	if l.frame != nil && len(l.frame.in) == cap(l.frame.in) {
		if err := p.submit(ctx); err != nil {
			return err
		}
	}
	if l.frame != nil {
		return nil
	}
	f, err := p.slot(ctx)
	if err != nil {
		return err
	}
	if f.entries == nil {
		f.entries = make([]capstan.Entry, 0, l.entries+16)
	}
	l.frame = f
	return nil
}

// slot gives an unused frame; it blocks while all are in use.
func (p *Packer) slot(ctx context.Context) (*frame, error) {
	select {
	case f := <-p.free:
		return f, nil
	default:
	}
	if p.made < p.plan.slots {
		p.made++
		return &frame{in: make([]byte, 0, p.plan.frame), ready: make(chan struct{}, 1)}, nil
	}
	p.waitLayout.enter(StagePack)
	defer p.waitLayout.leave()
	select {
	case f := <-p.free:
		return f, nil
	case <-p.ctx.Done():
		return nil, p.cause()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// submit hands the frame to the workers and to the writer.
func (p *Packer) submit(ctx context.Context) error {
	f := p.layout.frame
	p.layout.frame = nil
	p.layout.entries = len(f.entries)
	if len(f.in) > 0 {
		f.archive = p.layout.archive
	}
	// Both channels have room for every frame there is.
	for _, to := range []chan *frame{p.work, p.order} {
		select {
		case to <- f:
		case <-p.ctx.Done():
			return p.cause()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
