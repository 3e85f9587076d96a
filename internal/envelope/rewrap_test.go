package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"filippo.io/age"

	"capstan"
)

func TestRewrap(t *testing.T) {
	t.Parallel()
	old, key, third := mustKey(t), mustKey(t), mustKey(t)
	pq, err := NewPostQuantumKey()
	if err != nil {
		t.Fatal(err)
	}
	word := mustLoad(t, knows("correct horse"))
	for _, test := range []struct {
		name     string
		from, to *Recipients
		with     *Identities
		opens    []*Identities
	}{
		{"key to key", mustRecipients(t, old), mustRecipients(t, key), IdentitiesOf(old), []*Identities{IdentitiesOf(key)}},
		{"key to two", mustRecipients(t, old), mustRecipients(t, key, third), IdentitiesOf(old), []*Identities{IdentitiesOf(key), IdentitiesOf(third)}},
		{"key to post-quantum", mustRecipients(t, old), mustRecipients(t, pq), IdentitiesOf(old), []*Identities{IdentitiesOf(pq)}},
		{"passphrase to key", cheapPassphrase(t, "correct horse"), mustRecipients(t, key), word, []*Identities{IdentitiesOf(key)}},
		{"key to passphrase", mustRecipients(t, old), cheapPassphrase(t, "correct horse"), IdentitiesOf(old), []*Identities{word}},
	} {
		for _, size := range sizes {
			plain := content(size)
			sealed := seal(t, test.from, plain)
			var out bytes.Buffer
			if err := Rewrap(&out, bytes.NewReader(sealed), int64(len(sealed)), test.with, test.to); err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			if int64(out.Len()) != test.to.EncryptedSize(int64(size)) {
				t.Errorf("%s: %d bytes became %d, not %d", test.name, size, out.Len(), test.to.EncryptedSize(int64(size)))
			}
			for _, ids := range test.opens {
				for how, read := range map[string]func(*Identities, []byte) ([]byte, error){"OpenAt": openedAt, "Reader": streamed, "age": decryptWithAge} {
					if got, err := read(ids, out.Bytes()); err != nil || !bytes.Equal(got, plain) {
						t.Errorf("%s, %s of %d bytes: %v", test.name, how, size, err)
					}
				}
			}
			if _, err := openedAt(IdentitiesOf(old), out.Bytes()); !errors.Is(err, capstan.ErrWrongKey) {
				t.Errorf("%s: the old key gave %v", test.name, err)
			}
		}
	}
}

// Damage is not carried over into a file that looks whole.
func TestRewrapProvesEveryChunk(t *testing.T) {
	t.Parallel()
	old, to := mustKey(t), mustRecipients(t, mustKey(t))
	from := mustRecipients(t, old)
	sealed := seal(t, from, content(20*chunkSize+5))
	for chunk := range 21 {
		bad := bytes.Clone(sealed)
		bad[int(from.header)+chunk*sealedChunk+3] ^= 1
		var out bytes.Buffer
		if err := Rewrap(&out, bytes.NewReader(bad), int64(len(bad)), IdentitiesOf(old), to); !errors.Is(err, capstan.ErrDamaged) {
			t.Errorf("chunk %d changed: %v", chunk, err)
		}
	}
	full := errors.New("full")
	for room := 0; room < len(sealed)-1; room += 50_000 {
		err := Rewrap(&limitedWriter{room: room, err: full}, bytes.NewReader(sealed), int64(len(sealed)), IdentitiesOf(old), to)
		if !errors.Is(err, full) {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

// wide is a recipient whose part of a header takes several lines.
type wide struct {
	to   age.Recipient
	body int
}

func (w wide) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	all, err := w.to.Wrap(fileKey)
	return append(all, &age.Stanza{Type: "wide", Args: []string{"a", "b"}, Body: make([]byte, w.body)}), err
}

// A header is written as age writes it, whatever its recipients put there; age
// itself reads it in wrap, and refuses another form.
func TestHeaderForm(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	for _, body := range []int{0, 1, 47, 48, 49, 95, 96, 97, 300} {
		r := mustRecipients(t, key)
		r.all = []age.Recipient{wide{r.all[0], body}}
		fileKey := []byte("sixteen bytes ok")
		header, err := r.wrap(fileKey)
		if err != nil {
			t.Errorf("a body of %d bytes: %v", body, err)
			continue
		}
		if got, err := IdentitiesOf(key).fileKey(header); err != nil || !bytes.Equal(got, fileKey) {
			t.Errorf("a body of %d bytes: %v", body, err)
		}
		if want := fmt.Sprint([]string{stanzaX25519, "wide"}); fmt.Sprint(stanzaTypes(header)) != want {
			t.Errorf("the recipients are %v, not %s", stanzaTypes(header), want)
		}
	}
}

// Copies of a file that get the same header stay alike, and only they do.
func TestRewrapWith(t *testing.T) {
	t.Parallel()
	old, key := mustKey(t), mustKey(t)
	to := mustRecipients(t, key)
	sealed, other := seal(t, mustRecipients(t, old), content(3*chunkSize)), seal(t, mustRecipients(t, old), content(3*chunkSize))
	header, err := Rehead(bytes.NewReader(sealed), int64(len(sealed)), IdentitiesOf(old), to)
	if err != nil {
		t.Fatal(err)
	}
	if err := IdentitiesOf(key).OpenHeader(header); err != nil {
		t.Errorf("the new key does not open the new header: %v", err)
	}
	if err := IdentitiesOf(old).OpenHeader(header); !errors.Is(err, capstan.ErrWrongKey) {
		t.Errorf("the old key opens the new header: %v", err)
	}
	if err := IdentitiesOf(key).OpenHeader(nil); err == nil {
		t.Error("no header was opened")
	}
	var first, second, before bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		before.Reset()
		if err := RewrapWith(out, &before, bytes.NewReader(sealed), int64(len(sealed)), IdentitiesOf(old), header); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) || !bytes.HasPrefix(first.Bytes(), header) {
		t.Error("two copies with one header differ")
	}
	if !bytes.Equal(before.Bytes(), sealed) {
		t.Error("the file as it was is not what was read")
	}
	var out bytes.Buffer
	if err := RewrapWith(&out, &before, bytes.NewReader(other), int64(len(other)), IdentitiesOf(old), header); !errors.Is(err, capstan.ErrDamaged) || out.Len() > 0 {
		t.Errorf("the header of another file: %v, %d bytes", err, out.Len())
	}
}

// A passphrase opens what was encrypted with it; public keys open nothing.
func TestSecretOfRecipients(t *testing.T) {
	t.Parallel()
	word := cheapPassphrase(t, "correct horse")
	sealed := seal(t, word, content(10))
	if got, err := openedAt(word.Secret(), sealed); err != nil || !bytes.Equal(got, content(10)) {
		t.Errorf("its own passphrase: %v", err)
	}
	if _, err := openedAt(cheapPassphrase(t, "another").Secret(), sealed); !errors.Is(err, capstan.ErrWrongKey) {
		t.Errorf("another passphrase: %v", err)
	}
	if mustRecipients(t, mustKey(t)).Secret() != nil || (*Recipients)(nil).Secret() != nil || (*Recipients)(nil).Strings() != nil {
		t.Error("there is a secret where there is none")
	}
	if !IsPassphrase(word.Strings()) || IsPassphrase(mustRecipients(t, mustKey(t)).Strings()) || IsPassphrase(nil) {
		t.Error("keys and passphrases are mixed up")
	}
}
