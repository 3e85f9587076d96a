package envelope

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// runChunks is how many chunks are read from the file at once: 1 MiB.
const runChunks = 16

// Plain is the content of an encrypted file. ReadAt may be called from several
// goroutines. It holds no resources besides memory: up to 512 KiB of content, and
// 1 MiB for each ReadAt in progress. The file below is the caller's.
type Plain struct {
	src     io.ReaderAt
	aead    cipher.AEAD
	fileKey []byte
	head    header
	end     int64 // of the last chunk within src
	size    int64
	chunks  int64
	salvage bool
	damage  error

	recent  recent
	buffers sync.Pool // of *[]byte
}

// Size is the length of the content in bytes.
func (p *Plain) Size() int64 { return p.size }

// Damage says why a file had to be salvaged: its end is not what was written, or
// is missing. It is nil for a file whose end is whole, whatever its middle is.
func (p *Plain) Damage() error { return p.damage }

// ReadAt is that of io.ReaderAt. Bytes come only from chunks that were proven to
// be what was written; another one is an error that wraps capstan.ErrDamaged, at
// its first byte. Of the file it reads the chunks that hold the range, neighbours
// together, and none that is still in memory.
func (p *Plain) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if len(b) == 0 {
		return 0, nil
	}
	if off >= p.size {
		return 0, io.EOF
	}
	want := b[:min(int64(len(b)), p.size-off)]
	n := 0
	for n < len(want) {
		m, err := p.read(want[n:], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// read reads a beginning of b: what is left of one chunk in memory, or a run of
// chunks from the file.
func (p *Plain) read(b []byte, off int64) (int, error) {
	first := off / chunkSize
	if plain := p.recent.get(first); plain != nil {
		return copy(b, plain[off%chunkSize:]), nil
	}
	last := min((off+int64(len(b))-1)/chunkSize, first+runChunks-1)
	if last > first && p.recent.get(last) != nil {
		last--
	}
	buf := p.buffer(int((last - first + 1) * sealedChunk))
	defer p.buffers.Put(buf)
	sealed, err := p.sealed(*buf, first, last)
	if err != nil {
		return 0, err
	}
	n := 0
	for chunk := first; chunk <= last; chunk++ {
		piece := sealed[(chunk-first)*sealedChunk:]
		piece = piece[:min(len(piece), sealedChunk)]
		m, err := p.decrypt(b[n:], piece, chunk, off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// decrypt puts what a chunk holds from off on into b. Of a chunk that is wanted
// in part the rest is likely wanted next, and it stays in memory.
func (p *Plain) decrypt(b, sealed []byte, chunk, off int64) (int, error) {
	length := len(sealed) - tagSize
	if skip := int(off - chunk*chunkSize); skip > 0 || len(b) < length {
		plain, err := p.openChunk(make([]byte, 0, length), sealed, chunk)
		if err != nil {
			return 0, err
		}
		p.recent.put(chunk, plain)
		return copy(b, plain[skip:]), nil
	}
	_, err := p.openChunk(b[:0:length], sealed, chunk)
	if err != nil {
		return 0, err
	}
	return length, nil
}

// openChunk decrypts a chunk into dst, which is empty and has room for it.
func (p *Plain) openChunk(dst, sealed []byte, chunk int64) ([]byte, error) {
	last := chunk == p.chunks-1
	plain, err := p.aead.Open(dst, chunkNonce(chunk, last), sealed, nil)
	if err == nil {
		return plain, nil
	}
	if !p.salvage {
		return nil, damaged("chunk %d, at %d, is not what was written", chunk, p.offset(chunk))
	}
	// The file may have been cut behind this chunk, or have grown.
	if plain, err = p.aead.Open(dst, chunkNonce(chunk, !last), sealed, nil); err == nil {
		return plain, nil
	}
	plain = dst[:len(sealed)-tagSize]
	clear(plain)
	return plain, nil
}

// chunkNonce is the one-time value of a chunk: its number in 11 bytes, and
// whether it is the last. The key is another one in each file.
func chunkNonce(chunk int64, last bool) []byte {
	nonce := make([]byte, chacha20poly1305.NonceSize)
	binary.BigEndian.PutUint64(nonce[3:], uint64(chunk))
	if last {
		nonce[len(nonce)-1] = 1
	}
	return nonce
}

// proveEnd decrypts the last chunk, as the last.
func (p *Plain) proveEnd() error {
	last := p.chunks - 1
	buf := p.buffer(int(p.end - p.offset(last)))
	defer p.buffers.Put(buf)
	sealed, err := p.sealed(*buf, last, last)
	if err != nil {
		return err
	}
	plain, err := p.aead.Open(nil, chunkNonce(last, true), sealed, nil)
	if err != nil {
		return damaged("its end is not what was written: it is cut off or changed")
	}
	p.recent.put(last, plain)
	return nil
}

// sealed reads chunks first to last as they lie in the file, into buf.
func (p *Plain) sealed(buf []byte, first, last int64) ([]byte, error) {
	from := p.offset(first)
	buf = buf[:min(p.offset(last+1), p.end)-from]
	n, err := p.src.ReadAt(buf, from)
	switch {
	case n == len(buf):
		return buf, nil
	case err == nil || errors.Is(err, io.EOF):
		return nil, damaged("the file ends at %d and was longer when it was opened", from+int64(n))
	}
	return nil, fmt.Errorf("read at %d: %w", from+int64(n), err)
}

// offset is where a chunk begins within the file.
func (p *Plain) offset(chunk int64) int64 { return p.head.end + chunk*sealedChunk }

// buffer gives a buffer of n bytes; it goes back to p.buffers.
func (p *Plain) buffer(n int) *[]byte {
	if b, ok := p.buffers.Get().(*[]byte); ok && cap(*b) >= n {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n)
	return &b
}
