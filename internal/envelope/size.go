package envelope

import (
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

// The payload of an encrypted file: a nonce, then the content in chunks of 64 KiB,
// each with its tag; the last one may be shorter, and is empty only if all is.
const (
	chunkSize   = 64 << 10
	tagSize     = chacha20poly1305.Overhead
	sealedChunk = chunkSize + tagSize
	nonceSize   = 16 // of the payload; each chunk's own is counted
)

// EncryptedSize is how long a file gets whose content has plain bytes.
func (r *Recipients) EncryptedSize(plain int64) int64 {
	chunks := max(1, (plain+chunkSize-1)/chunkSize)
	return r.header + plain + chunks*tagSize
}

// PlainSize is how long the content of an encrypted file of size bytes is. It
// needs no key, reads the header alone, and so believes the size as it is:
// OpenAt proves it. What cannot be an encrypted file is capstan.ErrDamaged.
func PlainSize(r io.ReaderAt, size int64) (int64, error) {
	h, err := readHeader(r, size)
	if err != nil {
		return 0, err
	}
	plain, _, err := payload(size - h.end)
	return plain, err
}

// payload gives the content's length and the number of chunks of a payload,
// without its nonce, of size bytes.
func payload(size int64) (plain, chunks int64, err error) {
	chunks = (size + sealedChunk - 1) / sealedChunk
	plain = size - chunks*tagSize
	if rest := size % sealedChunk; size < tagSize || size > tagSize && rest > 0 && rest <= tagSize {
		return 0, 0, damaged("no encrypted file has this length: it is cut off")
	}
	return plain, chunks, nil
}

// cutPayload takes off the end of a payload what is too short to be a chunk.
func cutPayload(size int64) int64 {
	if rest := size % sealedChunk; size > tagSize && rest <= tagSize {
		return size - rest
	}
	return size
}
