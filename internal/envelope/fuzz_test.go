package envelope

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"filippo.io/age"

	"capstan"
)

// FuzzOpenAt holds our reading against age's own: both take the same files, and
// make the same of them; what is refused has a class. Salvage gives the bytes
// that were proven, or zeros.
func FuzzOpenAt(f *testing.F) {
	key := sheetKey(f)
	ids := IdentitiesOf(key)
	to := mustRecipients(f, key)
	for _, size := range []int{0, 1, 200, chunkSize, chunkSize + 1} {
		sealed := seal(f, to, content(size))
		f.Add(sealed)
		f.Add(sealed[:len(sealed)-1])
		f.Add(append(bytes.Clone(sealed), 0))
	}
	f.Add(seal(f, cheapPassphrase(f, "correct horse"), []byte("x")))
	f.Add([]byte(magicLine))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		theirs, theirErr := decryptWithAge(ids, sealed)
		ours, err := openedAt(ids, sealed)
		inOrder, streamErr := streamed(ids, sealed)
		if (theirErr == nil) != (err == nil) || (theirErr == nil) != (streamErr == nil) {
			t.Fatalf("age says %v, OpenAt %v, Reader %v", theirErr, err, streamErr)
		}
		for _, err := range []error{err, streamErr} {
			if err != nil && !errors.Is(err, capstan.ErrDamaged) && !errors.Is(err, capstan.ErrWrongKey) && !errors.Is(err, capstan.ErrRefused) {
				t.Fatalf("%v has no class", err)
			}
		}
		if err == nil && (!bytes.Equal(ours, theirs) || !bytes.Equal(inOrder, theirs)) {
			t.Fatal("we read other bytes than age")
		}
		at, size, theirErr := age.DecryptReaderAt(bytes.NewReader(sealed), int64(len(sealed)), ids.all...)
		p, err := ids.OpenAt(bytes.NewReader(sealed), int64(len(sealed)))
		if (theirErr == nil) != (err == nil) || err == nil && size != p.Size() {
			t.Fatalf("age opens with %d bytes, %v; OpenAt with %v", size, theirErr, err)
		}
		s, err := ids.Salvage(bytes.NewReader(sealed), int64(len(sealed)))
		if err != nil {
			return
		}
		salvaged, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
		if err != nil {
			t.Fatalf("Salvage: %v", err)
		}
		if theirErr != nil {
			return
		}
		for off := int64(0); off < size; off += chunkSize {
			piece := make([]byte, min(chunkSize, size-off))
			n, err := at.ReadAt(piece, off)
			if n < len(piece) {
				clear(piece)
			}
			if !bytes.Equal(piece, salvaged[off:off+int64(len(piece))]) {
				t.Fatalf("at %d, where age says %v, Salvage gave something else", off, err)
			}
		}
	})
}

// FuzzReadSheet: no text makes the parser fail otherwise than with an error, and a
// key that it reads is one whose sheet it reads again.
func FuzzReadSheet(f *testing.F) {
	key := sheetKey(f)
	f.Add([]byte(sheet(f, key, SheetText)))
	f.Add([]byte(sheet(f, key, SheetHTML)))
	f.Add([]byte("AGE-SECRET-KEY-1\n1: QQQQ / QQQ\n"))
	f.Add([]byte("age secret key 1\n99. /\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ReadSheet(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := ReadSheet(bytes.NewBufferString(sheet(t, got, SheetText)))
		if err != nil || again.Secret() != got.Secret() {
			t.Errorf("a key that was read is not read again: %v", err)
		}
	})
}

// FuzzKeyFile: whatever stands in a key file, its keys are keys.
func FuzzKeyFile(f *testing.F) {
	key := sheetKey(f)
	f.Add(keyFile(f, key))
	f.Add([]byte("AGE-SECRET-KEY-PQ-1\n"))
	f.Add([]byte("# only words\n\xff\xfe"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, key := range keys {
			if again, err := ParseKey(key.Secret()); err != nil || again.Recipient() != key.Recipient() {
				t.Errorf("%v became %v, %v", key, again, err)
			}
		}
	})
}

// FuzzRecipient: what is taken for a public key can be encrypted to.
func FuzzRecipient(f *testing.F) {
	f.Add(sheetKey(f).Recipient())
	f.Add("age1pq1qqqq")
	f.Add("ssh-ed25519 AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		recipient, err := parseRecipient(text)
		if err != nil || recipient == nil {
			return
		}
		if again, err := parseRecipient(recipient.String()); err != nil || again == nil {
			t.Errorf("%q is taken, its own text is not: %v", text, err)
		}
	})
}
