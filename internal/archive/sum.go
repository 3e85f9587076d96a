package archive

import "capstan/internal/digest"

// sum takes frames in order, waits until they are packed, and has them hashed: what is
// written of them, and the ranges of contents in them. Handed over together these fill
// both lanes of a hasher; handed over as they come about, each would mostly find itself
// alone. Writing goes on meanwhile.
func (p *Packer) sum() {
	defer close(p.summed)
	s := summer{hasher: p.hasher}
	for {
		var f *frame
		select {
		case f = <-p.order:
		case <-p.ctx.Done():
		}
		if f == nil || !await(p.ctx, f.ready) {
			return
		}
		s.add(f)
		select {
		case p.summed <- f:
		case <-p.ctx.Done():
			return
		}
	}
}

// summer gives every archive and every content a stream.
type summer struct {
	hasher  *digest.Hasher
	ordinal int            // of the last archive
	archive *digest.Stream // and its own
	work    []digest.Work  // scratch
}

// add has a packed frame hashed, which goes on when it returns.
func (s *summer) add(f *frame) {
	work := s.work[:0]
	if f.archive > s.ordinal {
		s.archive, s.ordinal = digest.NewStream(), f.archive
	}
	f.sum = s.archive // also of a frame without bytes, which may be an archive's last
	if f.archive > 0 {
		work = append(work, digest.Work{Stream: f.sum, Data: f.out})
	}
	for i := range f.fills {
		r := &f.fills[i]
		if r.before == nil {
			r.content.sum = digest.NewStream()
		}
		work = append(work, digest.Work{Stream: r.content.sum, Data: f.in[r.from:r.to]})
	}
	f.hashed = s.hasher.Add(work)
	clear(work)
	s.work = work
}
