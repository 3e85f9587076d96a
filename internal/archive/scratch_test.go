package archive

import (
	"testing"

	"capstan"
)

// What readers share is held once, and fits whoever takes it.
func TestScratchIsShared(t *testing.T) {
	t.Parallel()
	var s Scratch
	a, err := s.decoder(capstan.CodecZstd)
	if err != nil {
		t.Fatal(err)
	}
	s.decoders.put(a)
	other, err := s.decoder(capstan.CodecGzip)
	if err != nil || other == a {
		t.Fatal("the decoder of another codec", err)
	}
	s.decoders.put(other)
	if again, err := s.decoder(capstan.CodecZstd); err != nil || again != a {
		t.Error("a decoder that is free is not used again", err)
	}
	small := s.buffer(10)
	s.buffers.put(small)
	large := s.buffer(1000)
	if cap(*large) < 1000 {
		t.Errorf("a buffer of %d bytes", cap(*large))
	}
	s.buffers.put(large)
	if s.buffer(500) != large || len(s.buffers.list) != 0 {
		t.Errorf("%d buffers are kept beside the one that is in use", len(s.buffers.list))
	}
}
