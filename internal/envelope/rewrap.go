package envelope

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"filippo.io/age"
)

// Rewrap copies an encrypted file of size bytes onto w with a new header, so that
// the recipients of to can open it instead of those before. The chunks stay as
// they are: each is proven on the way, none is encrypted again. An error that
// wraps capstan.ErrDamaged, or any other, leaves w with a part of the file, which
// is to be thrown away.
//
// The key that the chunks are encrypted with stays too. Whoever could open the
// file before and kept that key can open this one, and holds nothing that he did
// not have.
func Rewrap(w io.Writer, r io.ReaderAt, size int64, ids *Identities, to *Recipients) error {
	header, err := Rehead(r, size, ids, to)
	if err != nil {
		return err
	}
	return RewrapWith(w, io.Discard, r, size, ids, header)
}

// Rehead gives what a file begins with after Rewrap: some hundred bytes, different
// each time. Rewriting all copies of a file with the same makes them the same again.
func Rehead(r io.ReaderAt, size int64, ids *Identities, to *Recipients) ([]byte, error) {
	p, err := ids.OpenAt(r, size)
	if err != nil {
		return nil, err
	}
	text, err := to.wrap(p.fileKey)
	if err != nil {
		return nil, err
	}
	return append(text, p.head.nonce...), nil
}

// RewrapWith is Rewrap with a header that Rehead gave, for this copy of the file or
// another. The bytes of the file as it was go to old.
func RewrapWith(w, old io.Writer, r io.ReaderAt, size int64, ids *Identities, header []byte) error {
	p, err := ids.OpenAt(r, size)
	if err != nil {
		return err
	}
	if err := p.fits(header); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	if _, err := old.Write(append(bytes.Clone(p.head.text), p.head.nonce...)); err != nil {
		return err
	}
	buf := p.buffer(runChunks * sealedChunk)
	defer p.buffers.Put(buf)
	scratch := make([]byte, 0, chunkSize)
	for first := int64(0); first < p.chunks; first += runChunks {
		sealed, err := p.sealed(*buf, first, min(first+runChunks, p.chunks)-1)
		if err != nil {
			return err
		}
		for at := 0; at < len(sealed); at += sealedChunk {
			piece := sealed[at:min(at+sealedChunk, len(sealed))]
			if _, err := p.openChunk(scratch, piece, first+int64(at/sealedChunk)); err != nil {
				return err
			}
		}
		if _, err := w.Write(sealed); err != nil {
			return err
		}
		if _, err := old.Write(sealed); err != nil {
			return err
		}
	}
	return nil
}

// fits proves that a header is for this file's key and chunks.
func (p *Plain) fits(header []byte) error {
	text, ok := bytes.CutSuffix(header, p.head.nonce)
	if ok {
		_, err := age.DecryptHeader(text, age.NewInjectedFileKeyIdentity(p.fileKey))
		ok = err == nil
	}
	if !ok {
		return damaged("the new header is not for this file")
	}
	return nil
}

// OpenHeader reports whether the identities open a file that begins with a header
// that Rehead gave; if not, capstan.ErrWrongKey.
func (i *Identities) OpenHeader(header []byte) error {
	_, err := i.fileKey(header[:max(len(header)-nonceSize, 0)])
	return err
}

// wrap makes a header for a file key that exists. age makes headers for new keys
// only; the form of one is in its specification (age-encryption.org/v1): a line
// for the version, for each recipient what it makes of the key, and a checksum.
// age itself checks what was made before it is used.
func (r *Recipients) wrap(fileKey []byte) ([]byte, error) {
	var text bytes.Buffer
	text.WriteString(magicLine)
	for _, recipient := range r.all {
		stanzas, err := recipient.Wrap(fileKey)
		if err != nil {
			return nil, fmt.Errorf("make header: %w", err)
		}
		for _, s := range stanzas {
			appendStanza(&text, s)
		}
	}
	text.WriteString("---")
	key, err := hkdf.Key(sha256.New, fileKey, nil, "header", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("make header: %w", err)
	}
	sum := hmac.New(sha256.New, key)
	sum.Write(text.Bytes())
	text.WriteString(" " + base64.RawStdEncoding.EncodeToString(sum.Sum(nil)) + "\n")
	if _, err := age.DecryptHeader(text.Bytes(), age.NewInjectedFileKeyIdentity(fileKey)); err != nil {
		return nil, fmt.Errorf("make header: %w", err)
	}
	return text.Bytes(), nil
}

// appendStanza writes one recipient's part: its kind and arguments, then the body
// in lines of 64 letters, of which the last is shorter.
func appendStanza(text *bytes.Buffer, s *age.Stanza) {
	const columns = 64
	text.WriteString("-> " + s.Type)
	for _, arg := range s.Args {
		text.WriteString(" " + arg)
	}
	text.WriteByte('\n')
	body := base64.RawStdEncoding.EncodeToString(s.Body)
	for len(body) >= columns {
		text.WriteString(body[:columns] + "\n")
		body = body[columns:]
	}
	text.WriteString(body + "\n")
}
