package envelope

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"capstan"
)

func TestWrongKey(t *testing.T) {
	t.Parallel()
	key, second, other := mustKey(t), mustKey(t), mustKey(t)
	pq, err := NewPostQuantumKey()
	if err != nil {
		t.Fatal(err)
	}
	toKey, toTwo, toPQ, toWord := mustRecipients(t, key), mustRecipients(t, key, second), mustRecipients(t, pq), cheapPassphrase(t, "correct horse")
	word := mustLoad(t, knows("wrong horse"))
	for _, test := range []struct {
		name string
		to   *Recipients
		ids  *Identities
		want []string
	}{
		{"no identities", toKey, nil, []string{"an age key", "no key was given", "--identity"}},
		{"none, recipients known", toKey, (*Identities)(nil).For(toKey.Strings()), []string{key.Recipient(), "no key was given"}},
		{"another key", toKey, IdentitiesOf(other), []string{"an age key", "does not fit: " + other.Recipient()}},
		{"another key, recipients known", toTwo, IdentitiesOf(other).For(toTwo.Strings()), []string{key.Recipient(), second.Recipient(), other.Recipient()}},
		{"two keys unknown", toTwo, IdentitiesOf(other), []string{"2 keys: an age key"}},
		{"a passphrase for a key", toKey, word, []string{"an age key", "does not fit: passphrase"}},
		{"a key for a passphrase", toWord, IdentitiesOf(key), []string{"with a passphrase, and none was given", "--passphrase-file"}},
		{"wrong passphrase", toWord, word.For(toWord.Strings()), []string{"the passphrase is not the one"}},
		{"classic for post-quantum", toPQ, IdentitiesOf(key), []string{"a post-quantum age key"}},
	} {
		sealed := seal(t, test.to, []byte("content"))
		_, errAt := test.ids.OpenAt(bytes.NewReader(sealed), int64(len(sealed)))
		r, errStream := test.ids.Reader(bytes.NewReader(sealed))
		if r != nil {
			t.Errorf("%s: Reader gave a reader", test.name)
		}
		var out bytes.Buffer
		errRewrap := Rewrap(&out, bytes.NewReader(sealed), int64(len(sealed)), test.ids, toKey)
		if out.Len() > 0 {
			t.Errorf("%s: %d bytes were written", test.name, out.Len())
		}
		for _, err := range []error{errAt, errStream, errRewrap} {
			wantClass(t, test.name, err, capstan.ErrWrongKey)
			for _, want := range test.want {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %q does not say %q", test.name, err, want)
				}
			}
		}
	}
}

// A passphrase is not asked for while no file needs one, and once if several do.
func TestPassphraseIsAskedForOnce(t *testing.T) {
	t.Parallel()
	key := mustKey(t)
	asked := 0
	file := writeFile(t, "key.txt", []byte(key.Secret()+"\n"), 0o600)
	ids := mustLoad(t, func() (string, error) { asked++; return "correct horse", nil }, file)
	if _, err := openedAt(ids, seal(t, mustRecipients(t, key), []byte("x"))); err != nil || asked != 0 {
		t.Errorf("asked %d times for a file that a key opens, %v", asked, err)
	}
	for range 3 {
		if got, err := openedAt(ids, seal(t, cheapPassphrase(t, "correct horse"), []byte("x"))); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	broken := errors.New("no terminal")
	ids = mustLoad(t, func() (string, error) { return "", broken })
	_, err := ids.Reader(bytes.NewReader(seal(t, cheapPassphrase(t, "x"), nil)))
	if !errors.Is(err, broken) || errors.Is(err, capstan.ErrWrongKey) || errors.Is(err, capstan.ErrDamaged) {
		t.Errorf("a passphrase that cannot be read gave %v", err)
	}
}

// A foreign file cannot make a reader take any amount of memory.
func TestWorkFactorIsBounded(t *testing.T) {
	t.Parallel()
	sealed := seal(t, cheapPassphrase(t, "correct horse"), []byte("x"))
	greedy := bytes.Replace(sealed, []byte(" 10\n"), []byte(" 21\n"), 1)
	ids := mustLoad(t, knows("correct horse"))
	_, err := ids.OpenAt(bytes.NewReader(greedy), int64(len(greedy)))
	wantClass(t, "work factor 21", err, capstan.ErrRefused)
	if err == nil || !strings.Contains(err.Error(), "age -d") {
		t.Errorf("%v does not say what to do", err)
	}
	real, err := ParseRecipients(nil, knows("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	sealed = seal(t, real, []byte("x"))
	if !bytes.Contains(sealed, []byte(" 16\n")) || int64(len(sealed)) != real.EncryptedSize(1) {
		t.Errorf("the header of a passphrase is %q", sealed[:100])
	}
	r, err := ids.Reader(bytes.NewReader(sealed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}
