package archive

import (
	"context"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/digest"
)

// frame is a range of a tar stream on its way. The layout fills it, then a
// worker owns it until ready holds a value, then sum, then the writer; then it is
// used again.
type frame struct {
	in    []byte // the range, with room for a full frame
	out   []byte // what is written; without compression, in
	store []byte // backs out

	archive int // ordinal within this packer, from 1; 0 for a frame of entries without content
	last    bool
	headers int64 // tar entries that begin in it
	dense   int   // bytes that a look at their content's start found incompressible
	fills   []fill
	entries []capstan.Entry // complete when the frame is written
	ready   chan struct{}
	sum     *digest.Stream  // of its archive, as far as this frame
	hashed  <-chan struct{} // closed when it is in that, and in those of its contents
}

// fill is a range of a frame that a worker fills from a content.
type fill struct {
	content  *content
	from, to int
	entry    int             // of the content's last range: index of its entry in the frame, else -1
	before   turn            // of the range before; nil for the first
	after    turn            // for the next range; nil for the last
	outcome  capstan.Outcome // of a last range that was read
	reason   string
}

// turn passes a content from one range to the next, which may be another
// worker's, when it is closed.
type turn chan struct{}

// reset makes a written frame ready for use.
func (f *frame) reset() {
	clear(f.fills)
	*f = frame{in: f.in[:0], store: f.store, fills: f.fills[:0], entries: f.entries, ready: f.ready}
}

// encode makes out of in.
func (f *frame) encode(enc *codec.Encoder, c capstan.Codec) {
	if c == capstan.CodecNone {
		f.out = f.in
		return
	}
	if f.store == nil {
		f.store = make([]byte, 0, enc.Bound(cap(f.in)))
	}
	const sample = 64 << 10
	middle := max(0, len(f.in)/2-sample/2)
	if f.dense > len(f.in)-len(f.in)/16 && enc.Incompressible(f.in[middle:min(len(f.in), middle+sample)]) {
		f.out = enc.Store(f.store[:0], f.in)
	} else {
		f.out = enc.Encode(f.store[:0], f.in)
	}
	f.store = f.out
}

// await waits for a turn; it reports false when ctx ended before.
func await(ctx context.Context, ready <-chan struct{}) bool {
	select {
	case <-ready:
		return true
	case <-ctx.Done():
		return false
	}
}
