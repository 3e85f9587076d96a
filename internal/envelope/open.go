package envelope

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/chacha20poly1305"

	"capstan"
)

// OpenAt opens an encrypted file of size bytes for reading at any place. It
// reads the header, some hundred bytes, and the last chunk, which proves that the
// file is not cut off; each further chunk is proven when it is read. r must
// allow ReadAt from several goroutines if the result is used so, and stays the
// caller's.
func (i *Identities) OpenAt(r io.ReaderAt, size int64) (*Plain, error) {
	h, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	p, err := i.open(r, h, size)
	if err != nil {
		return nil, err
	}
	if err := p.proveEnd(); err != nil {
		return nil, err
	}
	return p, nil
}

// Salvage opens a file that OpenAt found damaged, if its header is whole. What
// cannot be decrypted reads as zeros and is no error, and the size is what the
// file's length comes to: as if a file that is not encrypted had been damaged in
// the same places. It is for readers that check every part for themselves, as
// those of archives do; Plain.Damage says why it was needed. What is not zeros
// was written by somebody who had the file's key.
func (i *Identities) Salvage(r io.ReaderAt, size int64) (*Plain, error) {
	h, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	whole := h.end + cutPayload(size-h.end)
	p, err := i.open(r, h, whole)
	if err != nil {
		return nil, err
	}
	p.salvage, p.damage = true, p.proveEnd()
	if p.damage == nil && whole != size {
		p.damage = damaged("something follows its end")
	}
	return p, nil
}

// open makes the reader of a file whose size is that of whole chunks and perhaps
// a shorter one.
func (i *Identities) open(r io.ReaderAt, h header, size int64) (*Plain, error) {
	plain, chunks, err := payload(size - h.end)
	if err != nil {
		return nil, err
	}
	fileKey, err := i.fileKey(h.text)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, fileKey, h.nonce, "payload", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	return &Plain{src: r, aead: aead, fileKey: fileKey, head: h, end: size, size: plain, chunks: chunks}, nil
}

// header is what stands before the chunks.
type header struct {
	text  []byte // to whom the file is encrypted, and a checksum of that by its key
	nonce []byte
	end   int64 // offset of the first chunk
}

func readHeader(r io.ReaderAt, size int64) (header, error) {
	section := io.NewSectionReader(r, 0, size)
	source := &source{r: section}
	text, err := age.ExtractHeader(source)
	if err != nil {
		if source.err != nil {
			return header{}, fmt.Errorf("read header: %w", source.err)
		}
		start := make([]byte, min(size, int64(len(armor.Header))))
		n, _ := section.ReadAt(start, 0) // it was read before
		return header{}, notAge(start[:n], err)
	}
	h := header{text: text, nonce: make([]byte, nonceSize), end: int64(len(text)) + nonceSize}
	switch n, err := section.ReadAt(h.nonce, int64(len(text))); {
	case n == nonceSize:
		return h, nil
	case err == nil || errors.Is(err, io.EOF):
		return header{}, damaged("it is cut off within its header")
	default:
		return header{}, fmt.Errorf("read header: %w", err)
	}
}

// source remembers that reading itself failed, so that this is not taken for
// damage.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// notAge says what is wrong with a file whose header age does not take.
func notAge(start []byte, err error) error {
	switch {
	case len(start) == 0:
		return damaged("it is empty")
	case bytes.HasPrefix([]byte(armor.Header), start):
		return damaged("it is in age's text form; turn it into the binary one with age, decrypting and encrypting it")
	case !bytes.HasPrefix(start, []byte(magic)[:min(len(start), len(magic))]):
		return damaged("it is not encrypted with age, or its beginning is lost")
	case len(start) >= len(magicLine) && start[len(magicLine)-1] == '\n' && string(start[:len(magicLine)]) != magicLine:
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "decrypt",
			Err: fmt.Errorf("it is of another version of the age format (%q)", start[:len(magicLine)-1]), Next: "use a newer capstan",
		}
	}
	return damaged("the header is not what was written: %w", err)
}

// stanzaTypes lists the kinds of recipients of a header, which is well formed.
func stanzaTypes(text []byte) []string {
	var types []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "-> "); ok {
			kind, _, _ := strings.Cut(strings.TrimSuffix(rest, "\n"), " ")
			types = append(types, kind)
		}
	}
	return types
}
