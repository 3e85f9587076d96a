package envelope

import (
	"bytes"
	"errors"
	"testing"

	"capstan"
)

// FuzzRewrap gives any bytes other recipients: what comes out holds the same for the
// new key and nothing for the old, what fails has a class; and a header that somebody
// else made is taken only where it fits the file.
func FuzzRewrap(f *testing.F) {
	key := sheetKey(f)
	other, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	ids, to := IdentitiesOf(key), mustRecipients(f, other)
	for _, size := range []int{0, 1, 300} {
		sealed := seal(f, mustRecipients(f, key), content(size))
		header, err := Rehead(bytes.NewReader(sealed), int64(len(sealed)), ids, to)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed, header)
		f.Add(sealed[:len(sealed)-1], header[:len(header)-1])
		f.Add(sealed, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, sealed, header []byte) {
		r, size := bytes.NewReader(sealed), int64(len(sealed))
		plain, plainErr := openedAt(ids, sealed)
		var out bytes.Buffer
		switch err := Rewrap(&out, r, size, ids, to); {
		case (err == nil) != (plainErr == nil):
			t.Fatalf("it opens with %v, and gets other recipients with %v", plainErr, err)
		case err == nil:
			if again, err := openedAt(IdentitiesOf(other), out.Bytes()); err != nil || !bytes.Equal(again, plain) {
				t.Fatalf("with the new key it holds something else: %v", err)
			}
			if _, err := openedAt(ids, out.Bytes()); !errors.Is(err, capstan.ErrWrongKey) {
				t.Fatalf("the old key still opens it: %v", err)
			}
		case !errors.Is(err, capstan.ErrDamaged) && !errors.Is(err, capstan.ErrWrongKey) && !errors.Is(err, capstan.ErrRefused):
			t.Fatalf("%v has no class", err)
		}
		_ = IdentitiesOf(other).OpenHeader(header)
		var with, old bytes.Buffer
		if RewrapWith(&with, &old, r, size, ids, header) != nil {
			return
		}
		if !bytes.Equal(old.Bytes(), sealed) || !bytes.HasPrefix(with.Bytes(), header) {
			t.Fatal("it copied other bytes")
		}
	})
}
