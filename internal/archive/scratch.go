package archive

import (
	"capstan"
	"capstan/internal/codec"
)

// Scratch is what reading takes beside the archives themselves: decoders, and buffers
// of the size of a frame, which are kept for their next use. Readers that share one
// hold together what those take that are at work at once, however many are open. The
// zero value is ready for use, from several goroutines.
type Scratch struct {
	decoders spare[*decoder]
	buffers  spare[*[]byte]
}

// decoder is what decoding one frame takes.
type decoder struct {
	*codec.Decoder
	codec capstan.Codec
	in    []byte
}

// Share has the reader use what others use as well. It is called before anything is
// read.
func (a *Reader) Share(s *Scratch) { a.scratch = s }

func (s *Scratch) decoder(c capstan.Codec) (*decoder, error) {
	if d, ok := s.decoders.get(func(d *decoder) bool { return d.codec == c }); ok {
		return d, nil
	}
	d, err := codec.NewDecoder(c)
	return &decoder{Decoder: d, codec: c}, err
}

// buffer gives an empty buffer with room for size bytes. One that is too small for it
// makes way.
func (s *Scratch) buffer(size int) *[]byte {
	if b, ok := s.buffers.get(func(b *[]byte) bool { return cap(*b) >= size }); ok {
		return b
	}
	s.buffers.get(func(*[]byte) bool { return true })
	b := make([]byte, 0, size)
	return &b
}
