package envelope

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"capstan"
)

func mustKey(t testing.TB) Key {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustRecipients(t testing.TB, keys ...Key) *Recipients {
	t.Helper()
	var names []string
	for _, key := range keys {
		names = append(names, key.Recipient())
	}
	r, err := ParseRecipients(names, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// cheapPassphrase is a passphrase whose files take no time to open.
func cheapPassphrase(t testing.TB, secret string) *Recipients {
	t.Helper()
	r, err := passphraseRecipient(secret, trialWorkFactor)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func knows(secret string) Passphrase {
	return func() (string, error) { return secret, nil }
}

func mustLoad(t testing.TB, passphrase Passphrase, files ...string) *Identities {
	t.Helper()
	ids, err := LoadIdentities(files, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func seal(t testing.TB, r *Recipients, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := r.Writer(&out)
	if err != nil {
		t.Fatal(err)
	}
	for rest := plain; len(rest) > 0; { // in pieces that are not chunks
		n := min(len(rest), 100_003)
		if m, err := w.Write(rest[:n]); m != n || err != nil {
			t.Fatalf("Write gave %d, %v", m, err)
		}
		rest = rest[n:]
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// content is n bytes that do not repeat.
func content(n int) []byte {
	random := rand.NewChaCha8([32]byte{1, 2, 3})
	b := make([]byte, n)
	_, _ = random.Read(b) // never fails
	return b
}

// opened reads all of a file through OpenAt.
func openedAt(ids *Identities, sealed []byte) ([]byte, error) {
	p, err := ids.OpenAt(bytes.NewReader(sealed), int64(len(sealed)))
	if err != nil {
		return nil, err
	}
	plain := make([]byte, p.Size())
	if n, err := p.ReadAt(plain, 0); n != len(plain) {
		return nil, err
	}
	return plain, nil
}

// streamed reads all of a file through Reader.
func streamed(ids *Identities, sealed []byte) ([]byte, error) {
	r, err := ids.Reader(bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func writeFile(t testing.TB, name string, text []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantClass(t testing.TB, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: error %v, want %v", what, err, class)
	}
	for _, other := range []error{capstan.ErrWrongKey, capstan.ErrDamaged, capstan.ErrUsage, capstan.ErrRefused} {
		if other != class && errors.Is(err, other) { //nolint:errorlint // the classes themselves are compared
			t.Errorf("%s: error %v is also %v", what, err, other)
		}
	}
}

// countingReader counts what is read from a file.
type countingReader struct {
	io.ReaderAt
	calls, bytes int
	fail         error
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	if c.fail != nil {
		return 0, c.fail
	}
	c.calls++
	n, err := c.ReaderAt.ReadAt(p, off)
	c.bytes += n
	return n, err
}
